import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DecodeError, EncodeError } from '../../src/errors.js';
import {
  clampPriority,
  decodeEnvelope,
  type Envelope,
  encodeEnvelope,
} from '../../src/transports/virtual/wire/index.js';
import { canonical, normalized } from '../golden/canonical.js';
import { golden } from '../golden/read.js';

interface Row {
  readonly text: string;
  readonly body: string;
  readonly headers: unknown;
}

const message: Envelope = {
  body: Buffer.from('{"a": 1}'),
  properties: { contentType: 'application/json', contentEncoding: 'utf-8', headers: {}, deliveryMode: 2, priority: 0 },
  exchange: 'ex',
  routingKey: 'rk',
  deliveryTag: '8e1b2f6e-0f6c-4c57-9a5b-1c4c5a3f2d10',
  redelivered: false,
};

describe('what Kombu 5.6.2 wrote', () => {
  test.each(golden<Row>('envelope.json'))('$text', ({ text, body, headers }) => {
    const envelope = decodeEnvelope(text);
    expect(Buffer.from(envelope.body).toString('base64')).toBe(body);
    expect(canonical(envelope.properties.headers)).toEqual(normalized(headers));
    expect(envelope).toMatchObject({ exchange: '', routingKey: 'quéue "x"', redelivered: false });
    expect(envelope.deliveryTag).toMatch(/^[0-9a-f-]{36}$/);
    expect(decodeEnvelope(Buffer.from(text))).toEqual(envelope);
  });

  test('every property has its place', () => {
    const [row] = golden<Row>('envelope.json');
    expect(decodeEnvelope(row?.text ?? '')).toMatchObject({
      properties: {
        contentType: 'application/json',
        contentEncoding: 'utf-8',
        correlationId: 'c',
        replyTo: 'r',
        messageId: 'm',
        type: 't',
        appId: 'a',
        userId: 'u',
        clusterId: 'k',
        timestamp: 1_700_000_000,
        deliveryMode: 2,
        expiration: '1500',
        priority: 5,
      },
      extra: { DelaySeconds: 3 },
    });
  });
});

describe('writing', () => {
  test("rusty-celery#253: Kombu's members in Kombu's order", () => {
    expect(encodeEnvelope(message)).toBe(
      '{"body":"eyJhIjogMX0=","content-encoding":"utf-8","content-type":"application/json","headers":{},' +
        '"properties":{"delivery_mode":2,"delivery_info":{"exchange":"ex","routing_key":"rk"},"priority":0,' +
        '"body_encoding":"base64","delivery_tag":"8e1b2f6e-0f6c-4c57-9a5b-1c4c5a3f2d10"}}',
    );
  });

  test('reads as JSON to what Kombu itself writes', () => {
    for (const { text } of golden<Row>('envelope.json').slice(0, 7)) {
      const theirs = JSON.parse(text);
      const ours = JSON.parse(encodeEnvelope(decodeEnvelope(text)));
      expect(Object.keys(ours)).toEqual(Object.keys(theirs));
      expect(ours.properties).toEqual(theirs.properties);
      expect(ours).toMatchObject({ body: theirs.body, 'content-type': theirs['content-type'] });
    }
  });

  test('a message that was given back says so where Kombu looks', () => {
    const stored = JSON.parse(encodeEnvelope({ ...message, redelivered: true }));
    expect(stored.redelivered).toBe(true);
    expect(stored.properties.delivery_info).toEqual({ exchange: 'ex', routing_key: 'rk', redelivered: true });
  });

  test('absent content type and encoding are null, as in Python', () => {
    const stored = JSON.parse(encodeEnvelope({ ...message, properties: {} }));
    expect(stored).toMatchObject({ 'content-type': null, 'content-encoding': null, headers: {} });
    expect(stored.properties.priority).toBe(0);
  });

  test('is ASCII whatever it holds', () => {
    const text = encodeEnvelope({
      ...message,
      routingKey: 'é😀"\\\n',
      properties: { headers: { ключ: '值' }, replyTo: '\ud800' },
    });
    expect(text).toMatch(/^[\x20-\x7e]*$/);
    expect(decodeEnvelope(text)).toMatchObject({
      routingKey: 'é😀"\\\n',
      properties: { headers: { ключ: '值' }, replyTo: '\ud800' },
    });
  });

  test('a body of text may stay text', () => {
    const text = encodeEnvelope({ ...message, body: Buffer.from('é "x"') }, { bodyEncoding: 'utf-8' });
    expect(text).toContain(String.raw`{"body":"\u00e9 \"x\""`);
    expect(text).toContain('"body_encoding":"utf-8"');
    const bytes = encodeEnvelope({ ...message, body: Uint8Array.of(255) }, { bodyEncoding: 'utf-8' });
    expect(bytes).toContain('{"body":{"__type__":"base64","__value__":"/w=="}');
  });

  test('a timestamp is in seconds', () => {
    const stored = (timestamp: number | bigint | Date) =>
      JSON.parse(encodeEnvelope({ ...message, properties: { timestamp } })).properties.timestamp;
    expect([stored(5), stored(7n), stored(new Date(1_700_000_000_999))]).toEqual([5, 7, 1_700_000_000]);
  });

  test('what JSON cannot hold, and what has a place of its own, is refused', () => {
    expect(() => encodeEnvelope({ ...message, properties: { headers: { f: () => 1 } } })).toThrow(EncodeError);
    expect(() => encodeEnvelope({ ...message, extra: { delivery_tag: 'x' } })).toThrow(/delivery_tag/);
    expect(() => encodeEnvelope({ ...message, extraDeliveryInfo: { exchange: 'x' } })).toThrow(/exchange/);
  });
});

const text = fc.string({ unit: 'binary' });
const header = fc.letrec((tie) => ({
  any: fc.oneof(
    { maxDepth: 2 },
    text,
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.uint8Array(),
    fc.array(tie('any')),
    fc.dictionary(text, tie('any'), { noNullPrototype: true }),
  ),
})).any;
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const envelopes: fc.Arbitrary<Envelope> = fc.record({
  body: fc.uint8Array({ maxLength: 300 }),
  properties: fc.record(
    {
      contentType: fc.constantFrom('application/json', 'text/plain; x="é"'),
      contentEncoding: fc.constantFrom('utf-8', 'binary'),
      headers: fc.dictionary(text, header, { noNullPrototype: true }),
      deliveryMode: fc.constantFrom(1, 2),
      priority: fc.integer({ min: 0, max: 255 }),
      correlationId: text,
      replyTo: text,
      expiration: fc.nat().map(String),
      messageId: text,
      timestamp: fc.nat(),
      type: text,
      userId: text,
      appId: text,
      clusterId: text,
    },
    { requiredKeys: [] },
  ),
  exchange: text,
  routingKey: text,
  deliveryTag: fc.oneof(fc.uuid(), text),
  redelivered: fc.boolean(),
  extra: optional(
    fc.dictionary(
      text.map((name) => `x${name}`),
      header,
      { minKeys: 1 },
    ),
  ),
  extraDeliveryInfo: optional(
    fc.dictionary(
      text.map((name) => `x${name}`),
      header,
      { minKeys: 1 },
    ),
  ),
});

describe('any envelope', () => {
  test.each(['base64', 'utf-8'] as const)('comes back as it was, its body as %s', (bodyEncoding) => {
    fc.assert(
      fc.property(envelopes, (envelope) => {
        const stored = encodeEnvelope(envelope, { bodyEncoding });
        for (const input of [stored, Buffer.from(stored), JSON.stringify(JSON.parse(stored), null, 2)]) {
          const read = decodeEnvelope(input);
          expect(Buffer.from(read.body)).toEqual(Buffer.from(envelope.body));
          expect({ ...read, body: null }).toEqual({
            ...envelope,
            body: null,
            properties: {
              ...envelope.properties,
              priority: envelope.properties.priority ?? 0,
              headers: envelope.properties.headers ?? {},
            },
          });
        }
      }),
    );
  });

  test('is not mixed up with the one before', () => {
    fc.assert(
      fc.property(fc.array(envelopes, { minLength: 2, maxLength: 5 }), (series) => {
        const repeated = [...series, ...series];
        for (const envelope of repeated) {
          const { properties, deliveryTag, exchange, body } = decodeEnvelope(encodeEnvelope(envelope));
          expect({ deliveryTag, exchange, replyTo: properties.replyTo }).toEqual({
            deliveryTag: envelope.deliveryTag,
            exchange: envelope.exchange,
            replyTo: envelope.properties.replyTo,
          });
          expect(Buffer.from(body)).toEqual(Buffer.from(envelope.body));
        }
      }),
    );
  });
});

describe('successive messages that differ only in body and tag', () => {
  const stored = (tag: string) => encodeEnvelope({ ...message, body: Buffer.from(tag), deliveryTag: tag });

  test('share nothing that one could change for the other', () => {
    const first = decodeEnvelope(stored('1'));
    const second = decodeEnvelope(stored('2'));
    const third = decodeEnvelope(stored('3'));
    expect([first, second, third].map(({ deliveryTag }) => deliveryTag)).toEqual(['1', '2', '3']);
    expect(second).toEqual({
      ...message,
      body: Buffer.from('2'),
      deliveryTag: '2',
      extra: undefined,
      extraDeliveryInfo: undefined,
    });
    expect(second.properties).not.toBe(third.properties);
    expect(second.properties.headers).not.toBe(third.properties.headers);
    Object.assign(second.properties.headers ?? {}, { changed: true });
    expect(decodeEnvelope(stored('4')).properties.headers).toEqual({});
  });

  test('a tag that ends like an envelope is no tag', () => {
    decodeEnvelope(stored('1'));
    const odd = stored('1').replace('"delivery_tag":"1"}}', '"delivery_tag":"1"},"redelivered":true,"x":{"y":"1"}}');
    expect(decodeEnvelope(odd)).toMatchObject({ deliveryTag: '1', redelivered: true });
    const escaped = stored('1').replace('"delivery_tag":"1"', String.raw`"delivery_tag":"\u0031"`);
    expect(decodeEnvelope(escaped).deliveryTag).toBe('1');
  });
});

describe('foreign and older envelopes', () => {
  test.each([
    ['nothing but an object', '{}', { body: '', deliveryTag: '', exchange: '', routingKey: '' }],
    ['a body alone', '{"body": "hello", "properties": {"delivery_info": {}}}', { body: 'hello' }],
    [
      'null for what is absent',
      '{"body":"eA==","headers":null,"content-type":null,"properties":{"body_encoding":"base64","delivery_info":null,"correlation_id":null,"delivery_tag":null}}',
      { body: 'x', deliveryTag: '', extra: undefined },
    ],
    ['a number for a tag', '{"body":"x","properties":{"delivery_tag":7}}', { deliveryTag: '7' }],
    ['body_encoding in capitals', '{"body":"x","properties":{"body_encoding":"UTF-8"}}', { body: 'x' }],
    ['base64 in lines', '{"body":"aGVs\\nbG8=","properties":{"body_encoding":"base64"}}', { body: 'hello' }],
    ['an escaped slash in base64', '{"body":"\\/w==","properties":{"body_encoding":"base64"}}', { body: '\ufffd' }],
    ['the body last', '{"properties":{"body_encoding":"base64"},"body":"eA=="}', { body: 'x' }],
    [
      'the body twice, of which the last counts',
      '{"body":"eA==","properties":{"body_encoding":"base64"},"body":"eQ=="}',
      { body: 'y' },
    ],
    [
      "Redis's marks of a restored message",
      '{"body":"","headers":{"redelivered":true},"properties":{}}',
      { redelivered: true },
    ],
    ["delivery_info's", '{"body":"","properties":{"delivery_info":{"redelivered":true}}}', { redelivered: true }],
    ["the base class's", '{"body":"","properties":{},"redelivered":true}', { redelivered: true }],
  ])('%s', (_, stored, expected) => {
    const { body, ...rest } = decodeEnvelope(stored);
    expect({ ...rest, body: Buffer.from(body).toString() }).toMatchObject(expected);
  });

  test('Kombu 3 kept the priority in delivery_info', () => {
    const stored = '{"body":"","properties":{"delivery_info":{"exchange":"e","routing_key":"r","priority":3}}}';
    expect(decodeEnvelope(stored).properties.priority).toBe(3);
  });

  test('properties of a kind that AMQP has not are kept', () => {
    const { properties, extra } = decodeEnvelope(
      '{"properties":{"correlation_id":12,"reply_to":{"q":1},"priority":"7","timestamp":"now"}}',
    );
    expect(properties).toMatchObject({ correlationId: '12', priority: 7 });
    expect(extra).toEqual({ reply_to: { q: 1 }, timestamp: 'now' });
  });

  test.each([
    'x',
    '',
    '[]',
    'null',
    '"text"',
    '{"__type__":"bytes","__value__":"x"}',
    '{"body":5}',
    '{"body":"a","properties":{"body_encoding":"base64"}}',
    '{"body":"a","properties":{"body_encoding":"rot13"}}',
    '{"body":"a","properties":{"body_encoding":5}}',
    '{"body":"a","properties":[]}',
    '{"body":"a","properties":"x"}',
    '{"headers":[1]}',
    '{"content-type":5}',
    '{"properties":{"delivery_info":5}}',
    '{"properties":{"delivery_info":{"exchange":5}}}',
    '{"body":"eA==",',
    String.raw`{"body":"\ud800"}`,
    `{"headers":${'['.repeat(600)}${']'.repeat(600)}}`,
  ])('%s is DECODE_FAILED', (stored) => {
    expect(() => decodeEnvelope(stored)).toThrow(DecodeError);
  });

  test('bytes that are not UTF-8, and too many', () => {
    expect(() => decodeEnvelope(Uint8Array.of(0x7b, 0xff, 0x7d))).toThrow(DecodeError);
    const large = encodeEnvelope({ ...message, body: Buffer.alloc(1000) });
    expect(() => decodeEnvelope(large, { maxLength: 1000 })).toThrow(
      expect.objectContaining({ code: 'MESSAGE_TOO_LARGE' }),
    );
  });

  test('__proto__ in headers and properties sets nothing', () => {
    const envelope = decodeEnvelope(
      '{"headers":{"__proto__":{"polluted":1}},"properties":{"__proto__":{"polluted":1},"delivery_info":{"__proto__":{"polluted":1}}}}',
    );
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    expect(Object.getPrototypeOf(envelope.extra)).toBe(Object.prototype);
    expect(Object.getPrototypeOf(envelope.properties.headers)).toBe(Object.prototype);
    expect(Object.getPrototypeOf(envelope.extraDeliveryInfo)).toBe(Object.prototype);
  });
});

test('priorities as Kombu files them', () => {
  expect([undefined, -3, 0, 4.7, 9, 99, Number.NaN].map((priority) => clampPriority(priority))).toEqual([
    0, 0, 0, 4, 9, 9, 0,
  ]);
});
