/** What a take does not say, since both sides know it: the names under which messages are held. */
import { randomUUID } from 'node:crypto';
import { expect, onTestFinished, test } from 'vitest';
import { brokerUrl } from '../../../../scripts/lib/brokers/environment.ts';
import { RedisDriver } from '../../src/transports/redis/index.js';
import { foreignEnvelope, freshPrefix, parametersFor, rawClient, removeKeys } from './support.js';

const raw = rawClient(brokerUrl('redis'));

test('of several queues and priorities, declared and not, with acknowledgement and without', async () => {
  const prefix = freshPrefix();
  onTestFinished(() => removeKeys(raw, prefix));
  const holder = { id: randomUUID(), name: 'test' };
  const driver = new RedisDriver();
  await driver.open({
    parameters: parametersFor(brokerUrl('redis'), { global_keyprefix: prefix }),
    ...{ holder, lost: () => {}, due: () => {}, problem: () => {} },
  });
  onTestFinished(() => driver.retire());
  const options = { durable: true, autoDelete: false, deadLetter: false, arguments: {} };
  await driver.declare(['a', 'b'].map((name) => ({ name, options })));
  // Nobody declared this one.
  for (const priority of [0, 9, 0]) {
    const list = `${prefix}foreign${priority === 0 ? '' : '\x06\x169'}`;
    await raw.lpush(list, foreignEnvelope({ routingKey: 'foreign', priority }));
  }
  const messages = ['a', 'b', 'a', 'b', 'a'].flatMap((queue, i) =>
    [0, 6].map((priority) => ({
      queue,
      message: { body: Buffer.from(`${queue}${i}`), properties: { priority }, exchange: '', routingKey: queue },
    })),
  );
  await driver.send(messages);

  const requests = [
    { queue: 'a', credit: 10, noAck: false },
    { queue: 'b', credit: 2, noAck: true },
    { queue: 'foreign', credit: 10, noAck: false },
    { queue: 'b', credit: 10, noAck: false },
  ];
  const some = await driver.take(requests, { requestId: 12, limit: 8, order: 'fair', waitMs: 0 });
  const taken = [...some, ...(await driver.take(requests, { requestId: 13, limit: 100, order: 'strict', waitMs: 0 }))];
  expect(taken).toHaveLength(13);
  const held = taken.filter(({ lease }) => lease !== undefined);
  expect(held.length).toBeLessThan(13);
  expect(await raw.hlen(`${prefix}unacked`)).toBe(held.length);
  // The server has each under the name that we give it, with its own envelope.
  for (const { lease, message } of held) {
    const record = await raw.hget(`${prefix}unacked`, (lease as { field: string }).field);
    expect(record).toContain(Buffer.from(message.body).toString('base64'));
  }
  const extended = await driver.extend(held.map(({ lease }) => lease));
  expect(extended).toEqual(held.map(() => true));
  const settled = await driver.settle(held.map(({ lease }) => ({ lease, outcome: 'ack' as const })));
  expect(settled).toEqual(held.map(() => true));
  expect(await raw.exists(`${prefix}unacked`, `${prefix}unacked_index`, `${prefix}_wakame.held.${holder.id}`)).toBe(0);
});
