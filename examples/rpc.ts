/** A remote procedure call: the request names a queue for the reply, and a correlation id. */
import { Connection, Queue, sendReply, uuid } from 'wakame';
import { url } from './url.ts';

const requests = new Queue<{ n: number }>('examples.rpc', { autoDelete: true });

function fibonacci(n: number): number {
  let [a, b] = [0, 1];
  for (let i = 0; i < n; i += 1) [a, b] = [b, a + b];
  return a;
}

await using server = new Connection(url);
const replies = server.producer();
const service = server.consumer(requests, {
  settle: 'auto',
  onMessage: (message) => sendReply(message, fibonacci(message.payload.n), replies),
});
await service.consume();

await using client = new Connection(url);
const waiting = new Map<string, (result: unknown) => void>();
// The broker names the queue; it belongs to this connection and goes with it.
const inbox = new Queue('', { exclusive: true });
const listener = client.consumer(inbox, {
  noAck: true,
  onMessage: (message) => {
    const id = message.properties.correlationId ?? '';
    waiting.get(id)?.(message.payload);
    waiting.delete(id);
  },
});
await listener.consume();

const caller = client.producer({ routingKey: requests.name });
async function call(n: number): Promise<unknown> {
  const correlationId = uuid();
  const result = new Promise((resolve) => waiting.set(correlationId, resolve));
  await caller.publish({ n }, { correlationId, replyTo: listener.queues[0], mandatory: true });
  return result;
}

console.log((await Promise.all([10, 20, 30].map(call))).join(' '));
await listener.close();
await service.close();

// Prints:
// 55 6765 832040
