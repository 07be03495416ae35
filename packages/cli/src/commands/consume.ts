import { buildCommand } from '@stricli/core';
import { queueNames } from '../completion.js';
import type { Context } from '../context.js';
import { Deliveries, type FromQueue } from '../deliveries.js';
import { execute, killAll } from '../exec.js';
import { EXIT, Failure, UsageError } from '../exit-codes.js';
import { argument, type CommonFlags, common, commonAliases, number, text, time, toggle } from '../flags.js';
import { printable } from '../output.js';
import { comesAgain, plural } from '../parse.js';
import { pause } from '../pause.js';
import { type Connected, withConnection } from '../session.js';
import { FORMATS, type Format, show } from '../view.js';

interface Flags extends CommonFlags {
  readonly count?: number | undefined;
  readonly timeout?: number | undefined;
  readonly format?: Format | undefined;
  readonly ack: boolean;
  readonly requeue: boolean;
  readonly peek: boolean;
  readonly exec?: string | undefined;
  readonly onFailure?: 'requeue' | 'reject' | 'stop' | undefined;
  readonly concurrency?: number | undefined;
  readonly prefetch?: number | undefined;
}

/** Unsettled messages at most. AMQP counts them in 16 bits. */
const PREFETCH = 100;
const MOST_HELD = 65_535;
/** Milliseconds without a message after which everything there is has been looked at. */
const HELD_IDLE = 500;

export const consume = buildCommand({
  docs: {
    brief: 'Take messages from queues: print them, or hand each to a program',
    fullDescription:
      'Prints messages as they come, and acknowledges each when it has been written; or hands each to a program, and acknowledges it when\n' +
      'the program ends with exit code 0. The program gets the body on its standard input, and WAKAME_QUEUE, WAKAME_ROUTING_KEY,\n' +
      'WAKAME_HEADERS (JSON) and others in its environment.\n\n' +
      'Ends with Ctrl-C, after --count messages, or when none came for --timeout (exit code 3 when fewer than --count came). With --peek\n' +
      'and --requeue, when all that was there has been shown.',
    customUsage: [
      '[options] <queue>...',
      { input: 'orders', brief: 'Print and acknowledge what comes, until Ctrl-C' },
      { input: 'orders --count 3 --timeout 10s', brief: 'Three messages, or none for ten seconds' },
      { input: 'orders --peek', brief: 'Look at what is there, and leave it there' },
      { input: `orders --json --timeout 1s | jq .body`, brief: 'A line of JSON for each message' },
      { input: `orders --exec './handle.sh' --concurrency 4`, brief: 'A program for each message' },
    ],
  },
  parameters: {
    flags: {
      ...common,
      count: number('End after so many messages'),
      timeout: time('End when no message came for so long'),
      format: {
        kind: 'enum',
        values: FORMATS,
        optional: true,
        brief: 'How to print: pretty, json (a line for each message), body (the bytes and a line break)',
      },
      ack: toggle('Acknowledge what was printed; this is the default'),
      requeue: toggle('Put everything back at the end, as a decision: it counts as a failed attempt'),
      peek: toggle('Leave everything in its place'),
      exec: text('command', 'Hand each message to this command of the shell'),
      onFailure: {
        kind: 'enum',
        values: ['requeue', 'reject', 'stop'] as const,
        optional: true,
        brief: 'When the program fails: try again later (requeue, the default), dead-letter (reject), or end (stop)',
      },
      concurrency: number('Programs at work at one time (1)'),
      prefetch: number(`Messages in hand at one time (${PREFETCH})`),
    },
    aliases: { ...commonAliases, n: 'count', t: 'timeout', f: 'format', e: 'exec', c: 'concurrency' },
    positional: {
      kind: 'array',
      minimum: 1,
      parameter: { ...argument('queue', 'Where to take messages from'), proposeCompletions: queueNames },
    },
  },
  func(this: Context, flags: Flags, ...queues: string[]) {
    return withConnection(this, flags, async (session) => {
      const { onFailure, concurrency } = flags;
      if ([flags.ack, flags.requeue, flags.peek].filter(Boolean).length > 1) {
        throw new UsageError('--ack, --requeue and --peek exclude each other');
      }
      const holds = flags.requeue || flags.peek;
      if (flags.exec !== undefined && holds) throw new UsageError('--exec settles each message by the exit code');
      if (flags.exec === undefined && (onFailure !== undefined || concurrency !== undefined)) {
        throw new UsageError('--on-failure and --concurrency are about --exec');
      }
      if (flags.exec !== undefined && flags.format !== undefined) {
        throw new UsageError('--format is about printing: with --exec the program prints');
      }
      const prefetch = holds ? MOST_HELD : (flags.prefetch ?? PREFETCH);
      const deliveries = await Deliveries.open(session.connection, queues, {
        prefetch: Math.min(prefetch, flags.count ?? MOST_HELD),
        idle: flags.timeout ?? (holds ? HELD_IDLE : undefined),
        signal: session.signal,
      });
      let handled: number;
      try {
        if (flags.exec === undefined) handled = await print(session, flags, deliveries);
        else handled = await runPrograms(session, flags, flags.exec, deliveries, this.host.env);
      } finally {
        await deliveries.close();
      }
      if (session.signal.aborted) return;
      if (flags.count !== undefined && handled < flags.count) {
        throw new Failure(`only ${plural(handled, 'message')} came`, EXIT.nothing);
      }
      if (handled === 0 && flags.timeout !== undefined) throw new Failure('no message came', EXIT.nothing);
    });
  },
});

async function print({ out, connection }: Connected, flags: Flags, deliveries: Deliveries): Promise<number> {
  const { channel } = deliveries;
  const format = flags.format ?? (out.json ? 'json' : 'pretty');
  const held: FromQueue[] = [];
  // Not awaited one by one: a store settles many together. The prefetch bounds them.
  const acks = new Set<Promise<void>>();
  let failure: { readonly error: unknown } | undefined;
  const acknowledge = async ({ delivery }: FromQueue): Promise<void> => {
    try {
      if (await channel.ack(delivery.deliveryTag)) return;
      out.warnOfOne(comesAgain);
    } catch (error) {
      failure ??= { error };
    }
  };
  let handled = 0;
  try {
    while (handled < (flags.count ?? Number.POSITIVE_INFINITY) && failure === undefined) {
      const next = await deliveries.next();
      if (next === undefined) break;
      await show(out, format, next.delivery, next.queue);
      handled++;
      if (flags.requeue) held.push(next);
      else if (!flags.peek) {
        const one = acknowledge(next).finally(() => acks.delete(one));
        acks.add(one);
      }
    }
  } finally {
    // What was written is settled, also when the reader is gone.
    await Promise.all(acks);
  }
  if (failure !== undefined) throw failure.error;
  // Where they are put in front, those taken last go first: the order stays.
  if (connection.transport?.features.requeuePosition === 'front') held.reverse();
  for (const { delivery } of held) await channel.reject(delivery.deliveryTag, { requeue: true });
  return handled;
}

/** Milliseconds before the next try, after so many failures in a row. */
const pauseAfter = (failures: number) => Math.min(30_000, 1_000 * 2 ** (failures - 1));

async function runPrograms(
  session: Connected,
  flags: Flags,
  command: string,
  deliveries: Deliveries,
  environment: NodeJS.ProcessEnv,
): Promise<number> {
  const { out, signal } = session;
  const { channel } = deliveries;
  const most = flags.count ?? Number.POSITIVE_INFINITY;
  session.onInsist(killAll);
  let begun = 0;
  let handled = 0;
  let failures = 0;
  let stop: Failure | undefined;

  /** Whether the message is done with. */
  const handle = async ({ delivery, queue }: FromQueue): Promise<boolean> => {
    const code = await execute(command, delivery, queue, environment);
    if (code === 0) {
      failures = 0;
      if (!(await channel.ack(delivery.deliveryTag))) {
        out.warnOfOne(comesAgain);
      }
      return true;
    }
    failures++;
    const what = `${typeof code === 'number' ? `exit code ${code}` : `ended by ${code}`} for a message of ${printable(queue)}`;
    const rejects = flags.onFailure === 'reject';
    if (flags.onFailure === 'stop') {
      // It goes back to its place with the channel, as do those that nobody has begun with.
      stop ??= new Failure(`${what}; it is back in its place`);
      await deliveries.stop();
      return false;
    }
    out.warn(`${what}: ${rejects ? 'rejected' : 'put back'}`);
    // The pause comes first: what was put back would come again at once.
    if (!rejects) await pause(pauseAfter(failures), signal);
    await channel.reject(delivery.deliveryTag, { requeue: !rejects });
    return rejects;
  };

  const worker = async (): Promise<void> => {
    while (begun < most && stop === undefined) {
      begun++;
      const next = await deliveries.next();
      if (next === undefined) return;
      if (await handle(next)) handled++;
      else begun--;
    }
  };
  await Promise.all(Array.from({ length: flags.concurrency ?? 1 }, worker));
  if (stop !== undefined) throw stop;
  return handled;
}
