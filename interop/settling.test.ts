/** What becomes of a message that one side took: settled, given back, or left by a process that died. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { type Message, type Queue, SimpleQueue } from 'wakame';
import { Bench, bodies, eventually, inEachColumn, pack, unpacked } from './support/bench.ts';
import { impatientEndpointsOf, type Side } from './support/columns.ts';
import { cell } from './support/matrix.ts';
import type { PeerMessage } from './support/peer.ts';
import { runTypeScript } from './support/programs.ts';

inEachColumn('Settling', (bench) => {
  const { column } = bench;
  /** What Kombu says of a message that ours gave back. */
  const flagged = column.lacks.flag === undefined;
  const size = (queue: Queue) => queue.queueDeclare({ passive: true }).then(({ messageCount }) => messageCount);
  const isEmpty = (queue: Queue) => eventually(() => size(queue)).toBe(0);

  cell(column, 'Node → Python', 'ack and reject', async () => {
    const queue = await bench.queue();
    for (const how of ['ack', 'reject']) {
      await bench.publish(queue, how);
      await pythonSettles(bench, queue, how);
    }
    await bench.publish(queue, 'last');
    const last = await oneByNode(queue);
    expect([last.payload, last.redelivered]).toEqual(['last', false]);
    await last.ack();
    await isEmpty(queue);
  });
  cell(column, 'Python → Node', 'ack and reject', async () => {
    const queue = await bench.queue();
    for (const how of ['ack', 'reject', 'last']) {
      await bench.peer.call('publish', { body: pack(how), routing_key: queue.name });
      if (how === 'last') break;
      const message = await oneByNode(queue);
      expect(await (how === 'ack' ? message.ack() : message.reject())).toBe(true);
    }
    const [last] = await bench.peer.take(queue.name);
    expect([last?.body, last?.redelivered]).toEqual([pack('last'), false]);
    await isEmpty(queue);
  });

  cell(column, 'Node → Python', 'requeued by Node, redelivered to Python', async () => {
    const queue = await bench.queue();
    await bench.publish(queue, 'again', { headers: { kept: 1 }, messageId: 'm1', compression: 'zlib' });
    const message = await oneByNode(queue);
    expect(message.redelivered).toBe(false);
    await message.requeue();
    const [again] = await bench.peer.take(queue.name);
    expect([again?.body, again?.redelivered]).toEqual([pack('again'), flagged]);
    expect(unpacked(again?.headers)).toMatchObject({ object: expect.arrayContaining([['kept', pack(1)]]) });
    expect(unpacked(again?.properties)).toMatchObject({ object: expect.arrayContaining([['message_id', pack('m1')]]) });
    await isEmpty(queue);
  });
  cell(column, 'Python → Node', 'requeued by Python, redelivered to Node', async () => {
    const queue = await bench.queue();
    const options = { headers: pack({ kept: 1 }), message_id: 'm1', compression: 'zlib' };
    await bench.peer.call('publish', { body: pack('again'), routing_key: queue.name, ...options });
    await pythonSettles(bench, queue, 'requeue');
    const again = await oneByNode(queue);
    expect([again.payload, again.redelivered]).toEqual(['again', true]);
    expect([again.headers['kept'], again.properties.messageId]).toEqual([1, 'm1']);
    await again.ack();
    await isEmpty(queue);
  });

  /** With sides of its own, where the takings of the dead do not last long. */
  const impatient = (survivor: Side, run: (own: Bench) => Promise<void>) => async () => {
    const own = new Bench(column, await impatientEndpointsOf(column.transport, survivor));
    await own.open();
    await run(own).finally(() => own.close());
  };
  cell(
    column,
    'Node → Python',
    'Node takes it and is killed, Python gets it',
    impatient('Python', async (own) => {
      const queue = await own.queue();
      await own.publish(queue, 'survives');
      const child = spawn(process.execPath, [...runTypeScript, taker, own.url, queue.name], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      for await (const line of createInterface({ input: child.stdout })) if (line === '"survives"') break;
      child.kill('SIGKILL');
      await once(child, 'close');
      const [again] = await own.peer.take(queue.name, { timeout: 15 });
      expect([again?.body, again?.redelivered]).toEqual([pack('survives'), flagged]);
      await isEmpty(queue);
    }),
  );
  cell(
    column,
    'Python → Node',
    'Python takes it and is killed, Node gets it',
    impatient('Node', async (own) => {
      const queue = await own.queue();
      await own.peer.call('publish', { body: pack('survives'), routing_key: queue.name });
      const doomed = await own.another();
      const consumer = await doomed.call<number>('consume', { queue: { name: queue.name, no_declare: true } });
      expect(await doomed.call('next', { consumer })).toHaveLength(1);
      await doomed.kill();
      const again = await oneByNode(queue);
      expect([again.payload, again.redelivered]).toEqual(['survives', true]);
      await again.ack();
      await isEmpty(queue);
    }),
    ({ lacks }) => lacks.hold,
  );

  cell(column, 'Node → Python', 'what a consumer had not settled goes back when it ends', async () => {
    const queue = await bench.queue();
    for (const body of [1, 2, 3]) await bench.publish(queue, body);
    const held: Message[] = [];
    const consumer = bench.connection.consumer(queue, { onMessage: (message) => held.push(message) });
    await consumer.consume();
    await eventually(() => held.length).toBe(3);
    await held[1]?.ack();
    await consumer.close();
    const again = await bench.peer.take(queue.name, { count: 2 });
    expect(again.map(({ redelivered }) => redelivered)).toEqual([flagged, flagged]);
    expect(new Set(bodies(again))).toEqual(new Set([pack(1), pack(3)]));
    await isEmpty(queue);
  });

  cell(
    column,
    'both',
    'dead letters, and what the broker writes into their headers',
    async () => {
      const dead = await bench.queue();
      const queueArguments = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead.name };
      const queue = await bench.queue({ queueArguments });
      await bench.publish(queue, 'by Node', { headers: { kept: 1 } });
      await (await oneByNode(queue)).reject();
      const [byNode] = await bench.peer.take(dead.name);
      const headers = Object.fromEntries((unpacked(byNode?.headers) as { object: [string, unknown][] }).object);
      expect(headers).toMatchObject({ kept: pack(1), 'x-first-death-queue': pack(queue.name) });
      expect(headers['x-death']).toMatchObject([{ object: expect.arrayContaining([['count', pack(1)]]) }]);

      await bench.publish(queue, 'by Python');
      await pythonSettles(bench, queue, 'reject');
      const byPython = await oneByNode(dead);
      expect(byPython.headers['x-death']).toMatchObject([{ count: 1, queue: queue.name, time: expect.any(Date) }]);
      await byPython.ack();
    },
    ({ transport }) => (transport.native ? undefined : `Kombu has no dead letters in ${transport.title}`),
  );

  cell(column, 'Node → Python', 'purge and size', async () => {
    const queue = await bench.queue();
    for (const body of [1, 2, 3]) await bench.publish(queue, body);
    expect(await bench.peer.call('size', { queue: queue.name })).toBe(3);
    expect(await bench.peer.call('purge', { queue: queue.name })).toBe(3);
    expect(await size(queue)).toBe(0);
  });
  cell(column, 'Python → Node', 'purge and size', async () => {
    const queue = await bench.queue();
    for (const body of [1, 2, 3]) await bench.peer.call('publish', { body: pack(body), routing_key: queue.name });
    expect(await size(queue)).toBe(3);
    expect(await queue.purge()).toBe(3);
    expect(await size(queue)).toBe(0);
  });

  cell(column, 'both', 'SimpleQueue', async () => {
    const name = bench.queueName();
    bench.deleteExchange(name);
    const open = () => bench.peer.call('simple_queue', { name, serializer: 'json', compression: 'zlib' });
    await open();
    await using ours = new SimpleQueue(bench.connection, name, { serializer: 'json', compression: 'zstd' });
    await ours.put({ from: 'Node' });
    expect(await bench.peer.call('simple_size', { name })).toBe(1);
    expect(unpacked((await bench.peer.call<PeerMessage>('simple_get', { name })).body)).toEqual(pack({ from: 'Node' }));
    // Kombu's SimpleQueue goes on consuming after its first `get`.
    await bench.peer.call('simple_close', { name });
    await open();
    await bench.peer.call('simple_put', { name, body: pack({ from: 'Python' }) });
    expect(await ours.qsize()).toBe(1);
    const message = await ours.get({ timeout: 5000 });
    expect(message.payload).toEqual({ from: 'Python' });
    await message.ack();
    await expect(ours.getNoWait()).rejects.toMatchObject({ code: 'EMPTY' });
    await ours.put(1);
    await bench.peer.call('simple_put', { name, body: pack(2) });
    // Where Kombu leaves the row of what it took, that counts.
    const left = column.lacks.removal === undefined ? 0 : 1;
    expect(await bench.peer.call('simple_clear', { name })).toBe(2 + left);
    await bench.peer.call('simple_put', { name, body: pack(3) });
    expect(await ours.clear()).toBe(1);
    await bench.peer.call('simple_close', { name });
  });
});

const taker = fileURLToPath(new URL('support/taker.ts', import.meta.url));

/** Takes a message and leaves the settling to the caller. */
async function oneByNode(queue: Queue): Promise<Message> {
  let found: Message | undefined;
  await eventually(async () => {
    found = await queue.get();
    return found;
  }).toBeDefined();
  return found as Message;
}

async function pythonSettles(bench: Bench, queue: Queue, how: string): Promise<void> {
  const consumer = await bench.peer.call<number>('consume', {
    queue: { name: queue.name, no_declare: true },
    // It does not ask for more while it has this one.
    prefetch: 1,
  });
  const [message] = await bench.peer.call<PeerMessage[]>('next', { consumer });
  expect(message?.redelivered).toBe(false);
  await bench.peer.call('settle', { tag: message?.tag, how });
  await bench.peer.call('cancel', { consumer });
}
