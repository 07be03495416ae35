/**
 * The order of messages: each consumer gets those of one producer in the order in which they were published, but for what came again.
 *
 * ```
 *  published  1 2 3 4 5 6        one consumer    1 3 4 6      in order
 *                                the other       2 5          in order
 *                                the other       5 2          a violation, unless 2 was redelivered or sent again
 * ```
 *
 * Where a queue has a single consumer, what was sent again is held to it, too: the first delivery of each message counts, unless a copy came back
 * from somebody who had not yet handled it. Where several share a queue and what nobody has seen is given back unmarked, a fault that hit
 * another consumer is a reason.
 */
import type { Delivery, History, Message } from './history.ts';
import type { Hits } from './hits.ts';

export function checkOrder(history: History, hits: Hits, complain: (text: string) => void): void {
  const single = new Set(history.rules.queues.filter((queue) => queue.single).map(({ name }) => name));
  for (const [by, received] of history.received) {
    const highest = new Map<string, number>();
    for (const { message, delivery } of received) {
      const { producer, number, queue } = message;
      const isSingle = single.has(queue);
      if (delivery.redelivered) continue;
      if (isSingle ? !isFirst(message, delivery) : message.attempts !== 1) continue;
      const stream = `${producer} in '${queue}'`;
      const before = highest.get(stream) ?? 0;
      if (number >= before) highest.set(stream, number);
      else if (isSingle || !mayHaveBeenReturned(history, hits, message, delivery)) {
        complain(`${by} got ${number} of ${stream} after ${before}`);
      }
    }
  }
}

function isFirst({ deliveries, attempts }: Message, delivery: Delivery): boolean {
  return deliveries[0] === delivery && (attempts === 1 || !deliveries.some(({ redelivered }) => redelivered));
}

/** Whether a fault hit another consumer while the message was on its way. */
function mayHaveBeenReturned(history: History, hits: Hits, message: Message, delivery: Delivery): boolean {
  if (!history.rules.returnsUnmarked) return false;
  const others = [...history.workers.values()].filter(({ by, role }) => role === 'consumer' && by !== delivery.by);
  return others.some(({ by }) => hits.of(by, message.publishedAt, delivery.at).length > 0);
}
