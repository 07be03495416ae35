/** `--property name=value`: the properties of messages by name. */
import type { PublishOptions } from 'wakame';
import { UsageError } from './exit-codes.js';
import { duration, type Pair } from './parse.js';

type Properties = Pick<
  PublishOptions,
  | 'contentType'
  | 'contentEncoding'
  | 'correlationId'
  | 'replyTo'
  | 'messageId'
  | 'type'
  | 'appId'
  | 'userId'
  | 'clusterId'
  | 'priority'
  | 'expiration'
  | 'timestamp'
  | 'deliveryMode'
>;

const text = (value: string) => value;
const READERS: { readonly [Name in keyof Required<Properties>]: (value: string) => Properties[Name] } = {
  contentType: text,
  contentEncoding: text,
  correlationId: text,
  replyTo: text,
  messageId: text,
  type: text,
  appId: text,
  userId: text,
  clusterId: text,
  priority: whole,
  expiration: duration,
  timestamp: (value) => (/^\d+$/.test(value) ? Number(value) : date(value)),
  deliveryMode: (value) => (value === 'transient' || value === 'persistent' ? value : mode(value)),
};

/** Names may be written as in AMQP (`correlation-id`), Python (`correlation_id`) or here (`correlationId`). */
export function properties(pairs: readonly Pair[] | undefined): Properties {
  const found: Record<string, unknown> = {};
  for (const { key, value } of pairs ?? []) {
    const name = key.replace(/[-_]([a-z])/g, (_, letter: string) => letter.toUpperCase());
    if (!Object.hasOwn(READERS, name)) {
      throw new UsageError(`there is no property '${key}'; there are ${Object.keys(READERS).join(', ')}`);
    }
    try {
      found[name] = READERS[name as keyof Properties](value);
    } catch (error) {
      throw new UsageError(`property ${key}: ${(error as Error).message}`);
    }
  }
  return found as Properties;
}

function whole(value: string): number {
  if (!/^\d+$/.test(value)) throw new Error(`a whole number is wanted, not '${value}'`);
  return Number(value);
}

function date(value: string): Date {
  const time = new Date(value);
  if (Number.isNaN(time.getTime())) throw new Error(`seconds since the epoch or a date is wanted, not '${value}'`);
  return time;
}

function mode(value: string): 1 | 2 {
  if (value === '1') return 1;
  if (value === '2') return 2;
  throw new Error(`transient (1) or persistent (2) is wanted, not '${value}'`);
}
