import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { errorResult, lateness, readReply, readRequest, writeReply, writeRequest } from '../../src/pidbox/wire.js';
import { serialization } from '../../src/serialization/index.js';

/** Through JSON, as on the wire. */
function sent(body: object): unknown {
  const { body: bytes, contentType, contentEncoding } = serialization.dumps(body, 'json');
  return serialization.loads(bytes, contentType, contentEncoding);
}

const text = fc.option(fc.string(), { nil: undefined });
const args = fc.dictionary(fc.string(), fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null)));

describe('requests', () => {
  test('are as Kombu writes them', () => {
    const request = { method: 'ping', arguments: { n: 1 }, pattern: undefined, matcher: undefined };
    const body = { method: 'ping', arguments: { n: 1 }, pattern: null, matcher: null };
    const cast = { ...request, destination: undefined, replyTo: undefined, ticket: undefined };
    expect(writeRequest(cast)).toStrictEqual({ ...body, destination: null });
    const replyTo = { exchange: 'reply.box.pidbox', routingKey: 'oid' };
    expect(writeRequest({ ...request, destination: ['a'], replyTo, ticket: 't' })).toStrictEqual({
      ...body,
      destination: ['a'],
      ticket: 't',
      reply_to: { exchange: 'reply.box.pidbox', routing_key: 'oid' },
    });
  });

  test('survive the way', () => {
    const address = fc.record({ exchange: fc.string({ maxLength: 60 }), routingKey: fc.string({ maxLength: 60 }) });
    const request = fc.record({
      method: fc.string(),
      arguments: args,
      destination: fc.option(fc.array(fc.string()), { nil: undefined }),
      pattern: text,
      matcher: text,
      replyTo: address,
      ticket: fc.string(),
    });
    fc.assert(
      fc.property(request, fc.boolean(), (whole, wantsReply) => {
        const given = wantsReply ? whole : { ...whole, replyTo: undefined, ticket: undefined };
        const back = readRequest(sent(writeRequest(given)));
        expect(JSON.stringify(back)).toBe(JSON.stringify(given));
      }),
    );
  });

  test('of a Python client: absent members, and null', () => {
    const none = { destination: undefined, pattern: undefined, matcher: undefined, replyTo: undefined };
    expect(readRequest({ method: 'ping' })).toStrictEqual({
      method: 'ping',
      arguments: {},
      ...none,
      ticket: undefined,
    });
    const nulls = { arguments: null, destination: null, pattern: null, matcher: null, reply_to: null, ticket: null };
    expect(readRequest({ method: 'ping', ...nulls })).toStrictEqual(readRequest({ method: 'ping' }));
  });

  test.each([
    [undefined, 'must be an object'],
    [[], 'must be an object'],
    [new Uint8Array(2), 'must be an object'],
    [{}, 'method must be a string'],
    [{ method: 1 }, 'method must be a string'],
    [{ method: 'x', arguments: [1] }, 'arguments must be an object'],
    [{ method: 'x', destination: 'host' }, 'destination must be a list'],
    [{ method: 'x', destination: [1] }, 'destination must be a list'],
    [{ method: 'x', pattern: {} }, 'pattern must be a string'],
    [{ method: 'x', matcher: 0 }, 'matcher must be a string'],
    [{ method: 'x', ticket: 0 }, 'ticket must be a string'],
    [{ method: 'x', reply_to: 'queue' }, 'reply_to must name'],
    [{ method: 'x', reply_to: { exchange: 'e' } }, 'reply_to must name'],
    [{ method: 'x', reply_to: { exchange: 'e', routing_key: 'k'.repeat(256) } }, 'reply_to must name'],
  ])('%j is none', (body, message) => {
    expect(() => readRequest(body)).toThrow(expect.objectContaining({ code: 'DECODE_FAILED' }));
    expect(() => readRequest(body)).toThrow(message);
  });

  test('anything at all is read or refused', () => {
    fc.assert(
      fc.property(fc.anything(), (body) => {
        try {
          readRequest(body);
        } catch (error) {
          expect(error).toMatchObject({ code: 'DECODE_FAILED' });
        }
      }),
    );
  });
});

describe('replies', () => {
  test('hold the result under the name of the node', () => {
    expect(readReply(sent(writeReply('a', { n: 1 })))).toEqual({ hostname: 'a', value: { n: 1 } });
    expect(readReply(sent(writeReply('a', undefined)))).toEqual({ hostname: 'a', value: null });
    expect(readReply(sent(writeReply('__proto__', 1)))).toEqual({ hostname: '__proto__', value: 1 });
  });

  test('hold an error when that is all there is', () => {
    expect(readReply({ a: { error: 'no' } })).toEqual({ hostname: 'a', error: 'no' });
    for (const value of [{ error: 1 }, { error: 'no', more: 1 }, { ok: 'pong' }, 'error', null]) {
      expect(readReply({ a: value })).toEqual({ hostname: 'a', value });
    }
  });

  test.each([[null], [[]], [{}], [{ a: 1, b: 2 }], ['a']])('%j is none', (body) => {
    expect(() => readReply(body)).toThrow(expect.objectContaining({ code: 'DECODE_FAILED' }));
  });
});

/** The right-hand sides are what CPython 3.11 prints for the same exception. */
test.each([
  [new TypeError('bad'), "TypeError('bad')"],
  [new Error("it's"), `Error("it's")`],
  [new Error('say "hi"'), `Error('say "hi"')`],
  [new Error(`it's "hi"`), `Error('it\\'s "hi"')`],
  [new Error('a\\b\n\tc'), "Error('a\\\\b\\n\\tc')"],
  [Object.assign(new Error('x'), { message: '' }), 'Error()'],
  ['thrown text', "'thrown text'"],
  [undefined, 'undefined'],
])('the error of %s', (thrown, error) => {
  expect(errorResult(thrown)).toEqual({ error });
});

test('the text of an error is bounded', () => {
  expect(errorResult(new Error('x'.repeat(1_000_000))).error.length).toBeLessThan(1_100);
});

test('expires is a time in seconds; 0 and nonsense are none', () => {
  const now = Date.now() / 1000;
  expect(lateness(now - 2)).toBeGreaterThan(1_990);
  expect(lateness(now + 2)).toBeLessThan(0);
  expect(lateness(1n)).toBeGreaterThan(1e12);
  for (const none of [0, undefined, null, 'soon', -1, Number.NaN])
    expect(lateness(none)).toBe(Number.NEGATIVE_INFINITY);
});
