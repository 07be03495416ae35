import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import type { MessagingError } from '../../src/errors.js';
import { Attempts, countedByBroker } from '../../src/messaging/attempts.js';
import { decodeMessage } from '../../src/messaging/decode.js';
import { Message, type MessageOwner, type Settler } from '../../src/messaging/message.js';
import { checkReceived, checkToSend, type StandardSchemaV1 } from '../../src/messaging/schema.js';
import { serialization } from '../../src/serialization/index.js';
import type { Delivery } from '../../src/transport/contract.js';
import { failure } from './support.js';

function delivery(more: Partial<Delivery> = {}): Delivery {
  return {
    ...{ body: Buffer.from('{"a":1}'), exchange: 'x', routingKey: 'k', redelivered: false, deliveryTag: 7 },
    properties: { contentType: 'application/json', contentEncoding: 'utf-8' },
    ...more,
  };
}

/** A message whose settling is answered by `answer`, and what was done. */
function handled(answer: () => boolean | Promise<boolean> = () => true, more: Partial<Delivery> = {}, noAck = false) {
  const log: string[] = [];
  const problems: MessagingError[] = [];
  const settler: Settler = {
    ack: (tag) => {
      log.push(`ack ${tag}`);
      return answer();
    },
    reject: (tag, { requeue }) => {
      log.push(`${requeue ? 'requeue' : 'reject'} ${tag}`);
      return answer();
    },
  };
  const owner: MessageOwner = {
    ...{ queue: 'q', noAck },
    connection: { broker: { transport: 'none', host: undefined, port: undefined, virtualHost: undefined } },
    settled: (message, live) => log.push(`${message.state} ${live}`),
    problem: (error) => problems.push(error),
  };
  return { message: new Message<{ a: number }>(delivery(more), settler, owner), log, problems };
}

describe('settling', () => {
  test('each decision once, with its state', async () => {
    for (const [settle, state, sent] of [
      [(message: Message) => message.ack(), 'ACK', 'ack 7'],
      [(message: Message) => message.reject(), 'REJECTED', 'reject 7'],
      [(message: Message) => message.reject({ requeue: true }), 'REQUEUED', 'requeue 7'],
      [(message: Message) => message.requeue(), 'REQUEUED', 'requeue 7'],
    ] as const) {
      const { message, log } = handled();
      expect([message.state, message.acknowledged]).toEqual(['RECEIVED', false]);
      expect(await settle(message)).toBe(true);
      expect([message.state, message.acknowledged, log]).toEqual([state, true, [sent, `${state} true`]]);
      for (const again of [() => message.ack(), () => message.reject(), () => message.requeue()]) {
        const error = await failure(again());
        expect(error.code).toBe('MESSAGE_STATE');
        expect(error.message).toBe(`message 7 of queue 'q' was settled before (${state})`);
      }
      expect(log).toHaveLength(2);
    }
  });

  test('an answer that comes later is waited for', async () => {
    const { message, log } = handled(() => Promise.resolve(false));
    const answer = message.ack();
    expect(message.state).toBe('ACK');
    expect(await answer).toBe(false);
    expect(log).toEqual(['ack 7', 'ACK false']);
  });

  test('un-awaited it never rejects: what the store could not say is a problem, and false', async () => {
    for (const broken of [
      () => {
        throw new Error('thrown');
      },
      () => Promise.reject(new Error('rejected')),
    ]) {
      const { message, log, problems } = handled(broken);
      expect(await message.ack()).toBe(false);
      expect(problems.map(({ code }) => code)).toEqual(['STORE_ERROR']);
      expect(problems[0]?.message).toMatch(/message 7 of queue 'q' could not be settled: (thrown|rejected)/);
      expect(log.at(-1)).toBe('ACK false');
    }
  });

  test('ackLogError and rejectLogError tell what came too late', async () => {
    const told: string[] = [];
    const log = ({ message }: MessagingError) => told.push(message);
    expect(await handled().message.ackLogError(log)).toBe(true);
    expect(await handled(() => false).message.ackLogError(log)).toBe(false);
    expect(await handled(() => false).message.rejectLogError(log, { requeue: true })).toBe(false);
    expect(told).toEqual([
      "message 7 of queue 'q' could not be acknowledged: its delivery is stale",
      "message 7 of queue 'q' could not be rejected: its delivery is stale",
    ]);
    const unheard = handled(() => false);
    await unheard.message.ackLogError();
    expect(unheard.problems).toHaveLength(1);
  });

  test('with noAck nothing is sent', async () => {
    const { message, log } = handled(() => true, {}, true);
    expect([await message.ack(), await message.reject()]).toEqual([true, true]);
    expect((await failure(message.requeue())).message).toMatch(/was consumed with noAck/);
    expect([message.state, log]).toEqual(['ACK', []]);
  });
});

describe('what it holds', () => {
  test('the facts of the delivery', () => {
    const properties = { contentType: 'text/plain', contentEncoding: 'ascii', headers: { h: 1 }, priority: 3 };
    const { message } = handled(undefined, { properties, redelivered: true, consumerTag: 'c', messageCount: 4 });
    expect([message.contentType, message.contentEncoding, message.headers, message.properties]).toEqual([
      ...['text/plain', 'ascii', { h: 1 }, properties],
    ]);
    expect([message.deliveryTag, message.redelivered, message.queue]).toEqual([7, true, 'q']);
    expect(message.deliveryInfo).toEqual({
      ...{ exchange: 'x', routingKey: 'k', redelivered: true, deliveryTag: 7, consumerTag: 'c', messageCount: 4 },
    });
  });

  test('headers are an empty object when there are none', () => {
    expect(handled().message.headers).toEqual({});
  });

  test('inspect shows facts, not the body', () => {
    const text = inspect(handled().message);
    expect(text).toMatch(/^Message \{/);
    expect(text).toContain("state: 'RECEIVED'");
    expect(text).toContain('bodyLength: 7');
    expect(text).not.toContain('{"a":1}');
    expect(inspect({ a: { b: { c: handled().message } } }, { depth: 1 })).not.toContain('RECEIVED');
  });
});

describe('decoding', () => {
  const accept = serialization.prepareAccept(undefined);

  test('gives the payload, the same each time', () => {
    const { message } = handled();
    expect(decodeMessage(message, { accept, schema: undefined })).toBeUndefined();
    expect(message.payload).toEqual({ a: 1 });
    expect(message.payload).toBe(message.decode());
  });

  test('payloads that are falsy are payloads', () => {
    for (const [text, value] of [
      ['0', 0],
      ['""', ''],
      ['false', false],
      ['null', null],
      ['[]', []],
    ] as const) {
      const { message } = handled(undefined, { body: Buffer.from(text) });
      expect(decodeMessage(message, { accept, schema: undefined })).toBeUndefined();
      expect(message.payload).toEqual(value);
    }
  });

  test('before it, payload throws', () => {
    expect(() => handled().message.payload).toThrow(/has not been decoded/);
  });

  test('an empty body is not decompressed', () => {
    const { message } = handled(undefined, { body: Buffer.alloc(0), properties: { headers: { compression: 'zlib' } } });
    expect(decodeMessage(message, { accept, schema: undefined })).toBeUndefined();
    expect(message.body).toHaveLength(0);
  });

  test('a schema sees the value and gives the payload, at once or later', async () => {
    const schema = (later: boolean): StandardSchemaV1<unknown, string> => ({
      '~standard': {
        version: 1,
        vendor: 'test',
        validate: (value) => {
          const result = { value: `saw ${JSON.stringify(value)}` };
          return later ? Promise.resolve(result) : result;
        },
      },
    });
    for (const later of [false, true]) {
      const { message } = handled();
      const outcome = decodeMessage(message, { accept, schema: schema(later) });
      expect(outcome instanceof Promise).toBe(later);
      expect(await outcome).toBeUndefined();
      expect(message.payload).toBe('saw {"a":1}');
    }
  });
});

describe('schemas', () => {
  const failing = (validate: (value: unknown) => never): StandardSchemaV1 => ({
    '~standard': { version: 1, vendor: 'test', validate },
  });

  test('one that throws is DECODE_FAILED or ENCODE_FAILED', async () => {
    const broken = failing(() => {
      throw new Error('broken');
    });
    expect(() => checkReceived(broken, 1)).toThrow(expect.objectContaining({ code: 'DECODE_FAILED' }));
    expect(() => checkToSend(broken, 1)).toThrow(expect.objectContaining({ code: 'ENCODE_FAILED' }));
    const rejecting = failing((() => Promise.reject(new Error('later'))) as never);
    expect((await failure(Promise.resolve(checkReceived(rejecting, 1)))).code).toBe('DECODE_FAILED');
  });

  test('the error names the first issues and their paths, and has all of them as its cause', () => {
    const issues = [
      { message: 'required', path: ['user', { key: 'name' }] },
      { message: 'odd' },
      { message: 'too long', path: [0] },
      { message: 'never shown' },
      { message: 'nor this' },
    ];
    const schema = failing((() => ({ issues })) as never);
    expect(() => checkReceived(schema, 1)).toThrow(
      expect.objectContaining({
        message: 'the payload does not fit the schema: user.name: required; odd; 0: too long; … 2 more',
        cause: issues,
      }),
    );
  });
});

describe('counting attempts', () => {
  const redelivered = (body: string, properties = {}) =>
    delivery({ body: Buffer.from(body), redelivered: true, properties });

  test('what was requeued is remembered until it comes again', () => {
    const attempts = new Attempts();
    expect(attempts.take(redelivered('a'))).toBe(0);
    attempts.requeued(delivery({ body: Buffer.from('a'), properties: {} }), 1);
    expect(attempts.take(delivery({ body: Buffer.from('a'), properties: {} }))).toBe(0);
    expect(attempts.take(redelivered('b'))).toBe(0);
    expect(attempts.take(redelivered('a', { messageId: 'other' }))).toBe(0);
    expect(attempts.take(redelivered('a'))).toBe(1);
    expect(attempts.take(redelivered('a'))).toBe(0);
  });

  test('equal messages share nothing: each redelivery takes one number', () => {
    const attempts = new Attempts();
    for (const number of [1, 1, 2]) attempts.requeued(redelivered('a'), number);
    expect([1, 2, 3, 4].map(() => attempts.take(redelivered('a')))).toEqual([1, 1, 2, 0]);
  });

  test('headers, which brokers change, do not count', () => {
    const attempts = new Attempts();
    attempts.requeued(redelivered('a', { headers: {} }), 3);
    expect(attempts.take(redelivered('a', { headers: { 'x-delivery-count': 1 } }))).toBe(3);
  });

  test('memory is bounded: the oldest are forgotten', () => {
    const attempts = new Attempts();
    for (let i = 0; i < 10_001; i++) attempts.requeued(redelivered(String(i)), 1);
    expect(attempts.take(redelivered('0'))).toBe(0);
    expect(attempts.take(redelivered('1'))).toBe(1);
    expect(attempts.take(redelivered('10000'))).toBe(1);
  });

  test('the broker’s count is taken from the delivery, or from the header of quorum queues', () => {
    expect(countedByBroker(delivery({ deliveryCount: 4 }))).toBe(4);
    expect(countedByBroker(delivery({ properties: { headers: { 'x-delivery-count': 2n } } }))).toBe(2);
    expect(countedByBroker(delivery({ properties: { headers: { 'x-delivery-count': 'many' } } }))).toBe(0);
    expect(countedByBroker(delivery())).toBe(0);
  });
});
