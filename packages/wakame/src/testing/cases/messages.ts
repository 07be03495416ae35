import { deepEqual, equal, ok } from 'node:assert/strict';
import * as zlib from 'node:zlib';
import type { Message } from '../../index.js';
import type { ConformanceContext } from '../context.js';
import { group } from '../define.js';
import { rejection } from '../support.js';

/** Publishes one message with these options and gives what arrives. */
async function roundTrip(
  t: ConformanceContext,
  body: unknown,
  options: Readonly<Record<string, unknown>> = {},
  accept?: readonly string[],
): Promise<Message<unknown>> {
  const queue = t.queue('round').bind(t.connection);
  await queue.declare();
  await t.connection.producer().publish(body, { ...options, routingKey: queue.name });
  const message = await t.within('the message', queue.get({ noAck: true, accept }));
  ok(message, 'the message is in the queue');
  return message;
}

export const messages = group('messages', (test) => {
  test('every property goes round', async (t) => {
    const properties = {
      correlationId: 'c-1',
      replyTo: 'reply.queue',
      messageId: 'm-1 ž',
      type: 'greeting',
      appId: 'conformance',
      timestamp: 1_700_000_000,
      priority: 3,
      deliveryMode: 1,
      headers: { h: 1 },
    };
    const message = await roundTrip(t, 'x', { ...properties, expiration: 600_000 });
    const { headers, ...rest } = properties;
    for (const [name, value] of Object.entries(rest)) {
      deepEqual(message.properties[name as keyof typeof message.properties], value, name);
    }
    equal(message.properties.expiration, '600000');
    deepEqual(message.headers, headers);
    equal(message.contentType, 'text/plain');
    equal(message.contentEncoding, 'utf-8');
    equal(message.redelivered, false);
    equal(message.deliveryInfo.exchange, '');
    equal(message.deliveryInfo.routingKey, t.name('round'));
  });

  test('what was not set is not there, and a priority of 0 is', async (t) => {
    const bare = await roundTrip(t, 'x');
    for (const name of ['correlationId', 'replyTo', 'messageId', 'type', 'appId', 'timestamp', 'expiration'] as const) {
      equal(bare.properties[name], undefined, name);
    }
    equal(bare.properties.deliveryMode, 2);
    deepEqual(bare.headers, {});
    equal((await roundTrip(t, 'x', { priority: 0 })).properties.priority, 0);
  });

  test('every type of header goes round', async (t) => {
    const headers = {
      text: 'žluťoučký 昆布 🌊',
      empty: '',
      long: 'x'.repeat(70_000),
      yes: true,
      no: false,
      zero: 0,
      small: -1,
      timelimit: 300,
      int32: 2_147_483_647,
      beyond32: 3_000_000_000,
      safe: Number.MAX_SAFE_INTEGER,
      big: 9_223_372_036_854_775_807n,
      bigNegative: -9_223_372_036_854_775_808n,
      tenth: 0.1,
      huge: 1e40,
      nothing: null,
      when: new Date(1_700_000_000_000),
      binary: new Uint8Array([0xff, 0xfe, 0x00, 0x80]),
      list: ['a', 1, true, null, ['nested'], { in: 'list' }],
      table: { deep: { deeper: { deepest: [1, 2, 3] } } },
      emptyTable: {},
      emptyList: [],
      ' odd key: ž "\\': 1,
    };
    const message = await roundTrip(t, 'x', { headers });
    for (const [name, value] of Object.entries(headers)) {
      const got = message.headers[name];
      if (value instanceof Uint8Array) deepEqual(Uint8Array.from(got as Uint8Array), value, name);
      else if (value instanceof Date) equal((got as Date).getTime(), value.getTime(), name);
      else deepEqual(got, value, name);
    }
    deepEqual(Object.keys(message.headers).sort(), Object.keys(headers).sort());
  });

  test('text, bytes and JSON arrive as what they were', async (t) => {
    const values: readonly (readonly [unknown, string])[] = [
      ['text ž 🌊', 'text/plain'],
      ['', 'text/plain'],
      [Uint8Array.from([0, 255, 128, 10]), 'application/data'],
      [{ a: [1, 'two', null, true, { b: 1.5 }] }, 'application/json'],
      [[], 'application/json'],
      [0, 'application/json'],
      [false, 'application/json'],
      [null, 'application/json'],
    ];
    for (const [value, contentType] of values) {
      const message = await roundTrip(t, value);
      equal(message.contentType, contentType);
      if (value instanceof Uint8Array) deepEqual(Uint8Array.from(message.payload as Uint8Array), value);
      else deepEqual(message.payload, value);
    }
  });

  test('the body is the very bytes, and stays so', async (t) => {
    const message = await roundTrip(t, { ž: 1 });
    deepEqual(JSON.parse(Buffer.from(message.body).toString('utf8')), { ž: 1 });
    deepEqual(message.payload, { ž: 1 });
    equal(message.payload, message.payload);
  });

  test('a content type of one’s own passes the bytes through', async (t) => {
    const body = Buffer.from('<xml/>', 'latin1');
    const message = await roundTrip(t, body, { contentType: 'text/xml', contentEncoding: 'binary' }, ['text/xml']);
    equal(message.contentType, 'text/xml');
    equal(message.contentEncoding, 'binary');
    equal(Buffer.from(message.body).toString(), '<xml/>');
  });

  test('serializers: yaml and msgpack for those who accept them', async (t) => {
    const value = { list: [1, 'two'], text: 'ž' };
    for (const [serializer, contentType] of [
      ['yaml', 'application/x-yaml'],
      ['msgpack', 'application/x-msgpack'],
      ['json', 'application/json'],
    ] as const) {
      const message = await roundTrip(t, value, { serializer }, [serializer]);
      equal(message.contentType, contentType);
      deepEqual(message.payload, value);
    }
  });

  test('compression, by every method that the runtime has', async (t) => {
    const value = { text: 'wakame '.repeat(5_000) };
    const methods = ['gzip', 'zlib', 'brotli', ...('zstdCompressSync' in zlib ? ['zstd'] : [])];
    for (const compression of methods) {
      const message = await roundTrip(t, value, { compression });
      deepEqual(message.payload, value, compression);
      equal(message.contentType, 'application/json');
      ok(message.headers.compression, 'the header names the method');
    }
    equal((await roundTrip(t, value)).headers.compression, undefined);
  });

  test('get refuses content that is not accepted', async (t) => {
    const queue = t.queue('q').bind(t.connection);
    await queue.declare();
    await t.connection.producer().publish('text', { routingKey: queue.name });
    await rejection((async () => (await queue.get({ accept: ['json'] }))?.payload)(), 'CONTENT_DISALLOWED');
  });

  test('a message can be passed on as it is: mutation of the sender’s objects changes nothing', async (t) => {
    const queue = t.queue('q').bind(t.connection);
    await queue.declare();
    const body = Buffer.from('original');
    const headers = { state: 'original' };
    const published = t.connection.producer().publish(body, { routingKey: queue.name, headers });
    headers.state = 'changed';
    await published;
    body.fill('x');
    const message = await queue.get({ noAck: true });
    equal(Buffer.from(message?.body ?? []).toString(), 'original');
    equal(message?.headers.state, 'original');
  });
});
