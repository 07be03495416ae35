/**
 * The order of messages: each consumer gets those of one producer in the order in which they were published, but for what came again.
 *
 * ```
 *  published  1 2 3 4 5 6        one consumer    1 3 4 6      in order
 *                                the other       2 5          in order
 *                                the other       5 2          a violation, unless 2 was redelivered or sent again
 * ```
 *
 * Where a queue has a single consumer, what was sent again is held to it, too: the first delivery of each message counts.
 */
import type { History } from './history.ts';

export function checkOrder(history: History, complain: (text: string) => void): void {
  const single = new Set(history.rules.queues.filter((queue) => queue.single).map(({ name }) => name));
  for (const [by, received] of history.received) {
    const highest = new Map<string, number>();
    for (const { message, delivery } of received) {
      const { producer, number, queue } = message;
      const isSingle = single.has(queue);
      if (delivery.redelivered) continue;
      if (isSingle ? message.deliveries[0] !== delivery : message.attempts !== 1) continue;
      const stream = `${producer} in '${queue}'`;
      const before = highest.get(stream) ?? 0;
      if (number < before) complain(`${by} got ${number} of ${stream} after ${before}`);
      else highest.set(stream, number);
    }
  }
}
