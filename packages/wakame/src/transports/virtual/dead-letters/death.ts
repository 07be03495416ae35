/**
 * What RabbitMQ writes on a message that it dead-letters, and the rule by which it ends cycles. Pure functions.
 *
 * `x-death` is an array of tables, the latest death first, one for each queue and reason:
 *
 * | member | |
 * | --- | --- |
 * | `count` | how often it died in this queue for this reason |
 * | `reason` | `rejected`, `expired`, `maxlen`, `delivery_limit` |
 * | `queue`, `time` | where, and when for the first time |
 * | `exchange`, `routing-keys` | what it had been published to |
 * | `original-expiration` | its `expiration`, which it loses so that it does not expire again |
 *
 * `x-first-death-queue`, `-reason`, `-exchange` stay as the first death set them, `x-last-death-…` follow the latest.
 */
import type { StoredMessage } from '../driver.js';
import type { DeadLetterPolicy } from '../queue-arguments.js';

export type DeathReason = 'rejected' | 'expired' | 'maxlen' | 'delivery_limit';

type Table = Readonly<Record<string, unknown>>;

/** The message that goes to the dead-letter exchange. */
export function deadLetter(
  message: StoredMessage,
  queue: string,
  reason: DeathReason,
  policy: DeadLetterPolicy,
  now: Date,
): StoredMessage {
  const { expiration, ...properties } = message.properties;
  return {
    ...message,
    exchange: policy.exchange,
    routingKey: policy.routingKey ?? message.routingKey,
    properties: { ...properties, headers: headersAfter(message, queue, reason, now) },
  };
}

/**
 * Whether the queue must not get this dead letter: it has died there before, and nobody rejected it since, so that it would
 * go round for ever.
 *
 * @param message As {@link deadLetter} made it.
 */
export function isCycle(message: StoredMessage, queue: string, reason: DeathReason): boolean {
  if (reason === 'rejected') return false;
  const deaths = deathsOf(message.properties.headers);
  const at = deaths.findIndex((death) => death['queue'] === queue);
  return at >= 0 && deaths.slice(0, at + 1).every((death) => death['reason'] !== 'rejected');
}

function headersAfter(message: StoredMessage, queue: string, reason: DeathReason, now: Date): Table {
  const { headers = {}, expiration } = message.properties;
  const deaths = deathsOf(headers);
  const former = deaths.find((death) => death['queue'] === queue && death['reason'] === reason);
  const death: Table =
    former === undefined
      ? {
          count: 1,
          reason,
          queue,
          // AMQP timestamps are whole seconds.
          time: new Date(Math.floor(now.getTime() / 1000) * 1000),
          exchange: message.exchange,
          'routing-keys': [message.routingKey],
          ...(expiration === undefined ? {} : { 'original-expiration': expiration }),
        }
      : { ...former, count: countOf(former) + 1 };
  const where = (which: 'first' | 'last') => ({
    [`x-${which}-death-queue`]: queue,
    [`x-${which}-death-reason`]: reason,
    [`x-${which}-death-exchange`]: death['exchange'],
  });
  return {
    ...headers,
    ...(deaths.length === 0 ? where('first') : {}),
    ...where('last'),
    'x-death': [death, ...deaths.filter((other) => other !== former)],
  };
}

/** What a header says, which anybody may have written: whatever is no table is left out. */
function deathsOf(headers: Table | undefined): readonly Table[] {
  const deaths = headers?.['x-death'];
  return Array.isArray(deaths) ? deaths.filter((death) => typeof death === 'object' && death !== null) : [];
}

function countOf(death: Table): number {
  const count = Number(death['count']);
  return Number.isSafeInteger(count) && count > 0 ? count : 0;
}
