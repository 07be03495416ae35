import { parseArgs } from 'node:util';

export const STANDS = ['amqp', 'redis', 'sqlite', 'postgresql', 'filesystem', 'cluster'] as const;
export type StandName = (typeof STANDS)[number];

export interface ChaosOptions {
  readonly stand: StandName;
  readonly minutes: number;
  readonly seed: number;
  /** All producers together; more when the run takes longer than planned. */
  readonly messages: number;
  /** Where the account is written as JSON, if anywhere. */
  readonly json: string | undefined;
}

export const USAGE = `usage: npm run chaos -- ${STANDS.join('|')} [--minutes N] [--seed S] [--messages N] [--json FILE]`;

/** Messages a second when nothing else is said. */
const PACE = 150;

/** Throws, naming the value, for what cannot be done. */
export function parseOptions(args: readonly string[]): ChaosOptions {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      minutes: { type: 'string', default: '1' },
      seed: { type: 'string' },
      messages: { type: 'string' },
      json: { type: 'string' },
    },
  });
  const [stand, ...rest] = positionals;
  if (!isStand(stand) || rest.length > 0)
    throw new TypeError(`one of ${STANDS.join(', ')}, not '${positionals.join(' ')}'`);
  const minutes = positive('minutes', values.minutes);
  const seed = values.seed === undefined ? Date.now() % 1_000_000 : Number(values.seed);
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new TypeError(`--seed must be a whole number, not '${values.seed}'`);
  const messages =
    values.messages === undefined ? Math.ceil(minutes * 60 * PACE) : positive('messages', values.messages);
  return { stand, minutes, seed, messages, json: values.json };
}

function isStand(name: string | undefined): name is StandName {
  return (STANDS as readonly (string | undefined)[]).includes(name);
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0 && Number.isFinite(value))) throw new TypeError(`--${name} must be a number above 0, not '${text}'`);
  return value;
}
