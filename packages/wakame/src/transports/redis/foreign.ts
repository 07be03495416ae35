/** Records that Python's consumers left in `unacked`: which queue each message goes back to. */
import { DecodeError } from '../../errors.js';
import type { ExchangeRecord } from '../virtual/driver.js';
import { decodeEnvelope, matchTopic } from '../virtual/wire/index.js';
import { stepOf } from './messages.js';

export interface ForeignRecord {
  /** To the letter. */
  readonly envelope: string;
  readonly exchange: string;
  readonly routingKey: string;
}

/**
 * Reads `[envelope, exchange, routing key]`. The envelope is cut out rather than written anew, so that nothing of it changes.
 *
 * Throws DECODE_FAILED.
 */
export function readRecord(text: string): ForeignRecord {
  const start = text.indexOf('{');
  const end = endOfObject(text, start);
  if (!/^\s*\[\s*$/.test(text.slice(0, Math.max(0, start))) || end < 0)
    throw new DecodeError('unacked: not a record of Kombu');
  let rest: unknown;
  try {
    rest = JSON.parse(`[0${text.slice(end)}`);
  } catch (cause) {
    throw new DecodeError('unacked: not a record of Kombu', { cause });
  }
  const [, exchange, routingKey] = rest as unknown[];
  if (typeof exchange !== 'string' || typeof routingKey !== 'string') {
    throw new DecodeError('unacked: a record names no exchange and key');
  }
  return { envelope: text.slice(start, end), exchange, routingKey };
}

/** Where the object that begins at `start` is over; -1: nowhere. */
function endOfObject(text: string, start: number): number {
  let depth = 0;
  for (let at = start; at >= 0 && at < text.length; at++) {
    const char = text[at];
    if (char === '"') {
      at = endOfString(text, at);
      if (at < 0) return -1;
    } else if (char === '{' || char === '[') depth++;
    else if ((char === '}' || char === ']') && --depth === 0) return at + 1;
  }
  return -1;
}

/** Where the quote stands that ends the string. */
function endOfString(text: string, start: number): number {
  for (let at = text.indexOf('"', start + 1); at >= 0; at = text.indexOf('"', at + 1)) {
    let escapes = 0;
    while (text[at - 1 - escapes] === '\\') escapes++;
    if (escapes % 2 === 0) return at;
  }
  return -1;
}

/** The queues that a message goes back to; none: nobody knows, and it stays where it is. */
export function queuesFor(record: ForeignRecord, exchange: ExchangeRecord | undefined): readonly string[] {
  if (record.exchange === '') return [record.routingKey];
  const { routingKey } = record;
  const bindings = (exchange?.bindings ?? []).filter(({ destinationType }) => destinationType === 'queue');
  const matches = (key: string) => {
    if (exchange?.type === 'fanout') return true;
    return exchange?.type === 'topic' ? matchTopic(key, routingKey) : key === routingKey;
  };
  return [...new Set(bindings.filter((binding) => matches(binding.routingKey)).map(({ destination }) => destination))];
}

/** The list that a message belongs to, by its priority. */
export function stepOfEnvelope(envelope: string, steps: readonly number[]): number {
  try {
    return stepOf(decodeEnvelope(envelope).properties.priority, steps);
  } catch {
    // It goes back all the same, as it came.
    return stepOf(0, steps);
  }
}
