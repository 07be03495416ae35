/** What other producers may write into a queue or a store: envelopes, bodies, compressed bodies, and whole messages. */
import { describe, expect } from 'vitest';
import { fuzz, mutate, pick, type Random, randomBytes, TEXT_OCTETS, typed } from '../../../amqp/test/support/fuzz.js';
import { compression } from '../../src/compression/index.js';
import { Connection } from '../../src/connection/index.js';
import { MessagingError } from '../../src/errors.js';
import { Consumer } from '../../src/messaging/index.js';
import { Mailbox } from '../../src/pidbox/index.js';
import { serialization } from '../../src/serialization/index.js';
import type { BasicProperties } from '../../src/transport/contract.js';
import { decodeEnvelope, encodeEnvelope } from '../../src/transports/virtual/wire/index.js';
import { golden } from '../golden/read.js';
import { eventually } from '../messaging/support.js';
import { FakeBroker } from '../support/fake-transport.js';

const text = (bytes: Uint8Array) => JSON.stringify(Buffer.from(bytes).toString('latin1'));
const base64 = (value: string) => Buffer.from(value, 'base64');

const envelopes = golden<{ text: string }>('envelope.json').map((row) => Buffer.from(row.text));
const json = golden<{ text: string }>('typed-json.json').map((row) => Buffer.from(row.text));
const yaml = golden<{ body: string }>('yaml.json').map((row) => base64(row.body));
const msgpack = golden<{ body: string }>('msgpack.json').map((row) => base64(row.body));
const packed = golden<{ packed: Record<string, string> }>('compression.json').flatMap((row) =>
  Object.entries(row.packed).map(([method, body]) => ({ method, body: base64(body) })),
);

/** Values that are wrong in most places. */
const WRONG: readonly unknown[] = [
  null,
  true,
  -1,
  1e308,
  '',
  'x',
  [],
  {},
  [[]],
  { a: { b: null } },
  '\ud800',
  '__proto__',
];

/** A copy of a JSON value with one of its parts replaced, dropped or put elsewhere. */
function disarrange(value: unknown, random: Random): unknown {
  if (typeof value !== 'object' || value === null || random(4) === 0) return pick(random, WRONG);
  const entries = Object.entries(value);
  if (entries.length === 0) return pick(random, WRONG);
  const [key, inner] = pick(random, entries);
  const copy: Record<string, unknown> = { ...value };
  const what = random(8);
  if (what === 0) delete copy[key];
  else if (what === 1) copy[pick(random, entries)[0]] = inner;
  else copy[key] = disarrange(inner, random);
  return Array.isArray(value) ? Object.values(copy) : copy;
}

function deep(random: Random): Buffer {
  const depth = 1 + random(random(20) === 0 ? 100_000 : 3000);
  const [open, close] = pick(random, [
    ['[', ']'],
    ['{"a":', '}'],
    ['{"__type__":"uuid","__value__":', '}'],
  ]) as [string, string];
  return Buffer.from(`${open.repeat(depth)}1${close.repeat(random(2) * depth)}`);
}

function textOf(corpus: readonly Buffer[]): (random: Random) => Buffer {
  return (random) => {
    switch (random(8)) {
      case 0:
        return randomBytes(random, 200);
      case 1:
        return deep(random);
      default:
        return mutate(pick(random, corpus), random, TEXT_OCTETS);
    }
  };
}

describe('what is read or refused with a typed error', () => {
  const check = (stored: Buffer) => {
    const envelope = typed(() => decodeEnvelope(stored));
    if (envelope === undefined) return;
    const { body, properties, exchange, routingKey, deliveryTag, redelivered } = envelope;
    expect(body).toBeInstanceOf(Uint8Array);
    expect([typeof exchange, typeof routingKey, typeof redelivered]).toEqual(['string', 'string', 'boolean']);
    expect(['string', 'undefined']).toContain(typeof deliveryTag);
    for (const name of ['contentType', 'contentEncoding', 'correlationId', 'replyTo', 'expiration'] as const) {
      expect(['string', 'undefined']).toContain(typeof properties[name]);
    }
    // What was read can be passed on.
    typed(() => encodeEnvelope(envelope));
  };

  fuzz('an envelope with mistakes', textOf(envelopes), check, text);
  fuzz(
    'an envelope whose parts are not what they should be',
    (random) => Buffer.from(JSON.stringify(disarrange(JSON.parse(pick(random, envelopes).toString()), random))),
    check,
    text,
  );
  for (const [format, type, corpus] of [
    ['JSON', 'application/json', json],
    ['YAML', 'application/x-yaml', yaml],
  ] as const) {
    fuzz(format, textOf(corpus), (body) => void typed(() => serialization.loads(body, type, 'utf-8', [type])), text);
  }
  fuzz(
    'MessagePack',
    (random) => (random(4) === 0 ? randomBytes(random, 100) : mutate(pick(random, msgpack), random)),
    (body) => void typed(() => serialization.loads(body, 'application/x-msgpack', 'binary', ['application/x-msgpack'])),
    text,
  );
  fuzz(
    'compressed bodies, within their bound',
    (random) => {
      const { method, body } = pick(random, packed);
      return { method: random(10) === 0 ? pick(random, packed).method : method, body: mutate(body, random) };
    },
    ({ method, body }) => {
      const plain = typed(() => compression.decompress(body, method, { maxBytes: 100_000 }));
      expect(plain?.length ?? 0).toBeLessThanOrEqual(100_000);
    },
    ({ method, body }) => `${method} ${body.toString('base64')}`,
  );
});

describe('a node of a mailbox', () => {
  const request = {
    ...{
      method: 'ping',
      arguments: { n: 1, list: [1, { a: 'b' }] },
      destination: ['node'],
      pattern: 'n*',
      matcher: 'glob',
    },
    ...{ ticket: 'a ticket', reply_to: { exchange: 'reply.box.pidbox', routing_key: 'key' } },
  };

  fuzz(
    'carries a command out, passes it over, or refuses it with a typed error',
    (random) => Array.from({ length: 20 }, () => disarrange(request, random)),
    async (commands) => {
      const connection = new Connection('memory://pidbox-fuzz');
      connection.on('problem', () => {}); // Replies that cannot be sent.
      const box = new Mailbox('box', { connection });
      const node = box.node('node', { handlers: { ping: ({ n }) => n } });
      try {
        for (const command of commands) {
          await node.handleMessage(command).catch((error: unknown) => {
            if (!(error instanceof MessagingError)) throw error;
          });
        }
        expect(await node.handleMessage({ method: 'ping', arguments: { n: 7 } })).toBe(7);
      } finally {
        await connection.close();
      }
    },
    (commands) => JSON.stringify(commands),
  );
});

describe('a consumer', () => {
  interface Hostile {
    readonly body: Uint8Array;
    readonly properties: BasicProperties;
  }

  const TYPES = [
    'application/json',
    'text/plain',
    'application/x-yaml',
    'application/x-python-serialize',
    'x',
    '',
    'a/b; charset=',
  ];
  const ENCODINGS = ['utf-8', 'binary', 'utf-16', 'nonsense', '', 'ascii'];
  const bodies = [...json, ...yaml, ...msgpack, ...packed.map(({ body }) => body)];

  const hostile = (random: Random): Hostile => ({
    body: random(3) === 0 ? randomBytes(random, 50) : mutate(pick(random, bodies), random, TEXT_OCTETS),
    properties: {
      contentType: pick(random, [...TYPES, undefined, 7 as unknown as string]),
      contentEncoding: pick(random, [...ENCODINGS, undefined, null as unknown as string]),
      headers: pick(random, [
        undefined,
        {},
        { compression: pick(random, packed).method },
        { compression: pick(random, WRONG) },
        { 'x-delivery-count': pick(random, WRONG), 'x-death': pick(random, WRONG) },
        Object.fromEntries([['__proto__', { polluted: true }]]),
      ]),
      expiration: pick(random, [undefined, '1', 'soon']),
    },
  });

  fuzz(
    'goes on with the next message, and what it refuses is told and rejected',
    (random) => Array.from({ length: 50 }, () => hostile(random)),
    async (messages) => {
      const broker = new FakeBroker();
      broker.queues.set('q', { name: 'q', options: {}, owner: undefined, messages: [] });
      const connection = new Connection('fake://one', broker.options());
      const [handled, refused]: [number[], MessagingError[]] = [[], []];
      const consumer = new Consumer(connection, {
        ...{ queues: 'q', settle: 'auto', maxAttempts: 1 },
        accept: ['json', 'yaml', 'text'],
        onMessage: (message) => handled.push(message.deliveryTag as number),
      });
      consumer.on('decodeError', (error) => refused.push(error));
      consumer.on('handlerError', (error) => {
        throw error;
      });
      try {
        await consumer.consume();
        const [at] = broker.consumersOf('q');
        if (at === undefined) throw new Error('nobody consumes');
        const deliver = (message: Hostile, deliveryTag: number) =>
          at.channel.consumers.get(at.tag)?.sink.onDelivery({
            ...message,
            ...{ deliveryTag, exchange: '', routingKey: 'q', redelivered: deliveryTag % 2 === 0, consumerTag: at.tag },
          });
        for (const [i, message] of messages.entries()) deliver(message, i + 1);
        deliver({ body: Buffer.from('{}'), properties: { contentType: 'application/json' } }, 999);
        await eventually('the good one', () => handled.includes(999));
        for (const error of refused) expect(error).toBeInstanceOf(MessagingError);
        expect(handled.length + refused.length).toBe(messages.length + 1);
        expect(at.channel.settled.filter((each) => each.startsWith('ack'))).toHaveLength(handled.length);
        expect(at.channel.settled.filter((each) => each.startsWith('reject'))).toHaveLength(refused.length);
        expect(Object.hasOwn(Object.prototype, 'polluted')).toBe(false);
      } finally {
        await connection.close({ timeout: 100 });
      }
    },
    (messages) =>
      JSON.stringify(messages.map(({ body, properties }) => [Buffer.from(body).toString('base64'), properties])),
  );
});
