/**
 * Messages from one place to another, byte by byte as they are. The rule that nothing is lost by: a message is acknowledged at its
 * source after the other side has confirmed it, never before. A process that is killed leaves at worst a message in both places.
 */
import { type Channel, type Delivery, isRecoverable, type OutgoingMessage } from 'wakame';
import { glob, type Pair, value as readValue } from './parse.js';
import { pause } from './pause.js';
import { plainProperties } from './plain-properties.js';

/** Where a message goes to. */
export interface Target {
  readonly exchange: string;
  readonly routingKey: string;
  /** Headers that it loses. */
  readonly without?: ReadonlySet<string> | undefined;
}

/** Milliseconds between two tries to publish to a broker that is away. */
const RETRY = 500;

/**
 * Publishes a delivery elsewhere, once the broker has confirmed it. Tries again while the other broker is away; rejects UNROUTABLE
 * when no queue takes the message, and with what it is refused for.
 */
export async function forward(
  channel: Channel,
  delivery: Delivery,
  target: Target,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    try {
      await channel.publish(outgoing(delivery, target));
      return;
    } catch (error) {
      if (!isRecoverable(error) || signal.aborted) throw error;
      await pause(RETRY, signal);
      signal.throwIfAborted();
    }
  }
}

function outgoing({ body, properties }: Delivery, { exchange, routingKey, without }: Target): OutgoingMessage {
  // Brokers refuse a user id that is not the publisher's own.
  const { userId: _, ...rest } = plainProperties(properties);
  const headers = Object.fromEntries(
    Object.entries(properties.headers ?? {}).filter(([name]) => without?.has(name) !== true),
  );
  return {
    exchange,
    routingKey,
    body,
    properties: { ...rest, ...(properties.headers === undefined ? {} : { headers }) },
    unroutable: 'reject',
  };
}

export interface FilterFlags {
  readonly header?: readonly Pair[] | undefined;
  readonly key?: string | undefined;
}

/** Whether a message is meant: all that is asked for holds. */
export function filter({ header = [], key }: FilterFlags): (delivery: Delivery) => boolean {
  const keyFits = key === undefined ? () => true : glob(key);
  const wanted = header.map(({ key: name, value }) => ({ name, text: value, value: readValue(value) }));
  return ({ routingKey, properties }) =>
    keyFits(routingKey) &&
    wanted.every(({ name, text, value }) => {
      const has = properties.headers?.[name];
      return has !== undefined && (has === value || String(has) === text);
    });
}
