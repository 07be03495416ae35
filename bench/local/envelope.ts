/** The envelope of the virtual transports, beside plain JSON and base64. */
import { randomUUID } from 'node:crypto';
import { decodeEnvelope, encodeEnvelope } from 'wakame/wire';
import { type Budget, repeat, type Sample } from '../lib/sample.ts';

const BATCH = 64;

const properties = {
  contentType: 'application/json',
  contentEncoding: 'utf-8',
  headers: {},
  deliveryMode: 2,
  priority: 0,
  correlationId: randomUUID(),
  replyTo: randomUUID(),
};

function loop(make: (bytes: number) => () => unknown, bytes: number): (budget: Budget) => Promise<Sample> {
  return (budget) => {
    const step = make(bytes);
    let sum = 0;
    return repeat(budget, async () => {
      for (let i = 0; i < BATCH; i++) if (step() !== undefined) sum++;
      return sum > 0 ? BATCH : 0;
    });
  };
}

function bodyOf(bytes: number): Buffer {
  return Buffer.from(Array.from({ length: bytes }, (_, i) => 32 + (i % 90)));
}

const wakameEncode = (bytes: number) => {
  const body = bodyOf(bytes);
  return () =>
    encodeEnvelope({
      body,
      properties,
      exchange: 'media',
      routingKey: 'video',
      deliveryTag: randomUUID(),
      redelivered: false,
    });
};

const plainEncode = (bytes: number) => {
  const body = bodyOf(bytes);
  return () =>
    JSON.stringify({
      body: body.toString('base64'),
      'content-encoding': properties.contentEncoding,
      'content-type': properties.contentType,
      headers: {},
      properties: {
        correlation_id: properties.correlationId,
        reply_to: properties.replyTo,
        delivery_mode: 2,
        delivery_info: { exchange: 'media', routing_key: 'video' },
        priority: 0,
        body_encoding: 'base64',
        delivery_tag: randomUUID(),
      },
    });
};

/** Several texts, since each message is another one. */
function texts(bytes: number): string[] {
  const encode = wakameEncode(bytes);
  return Array.from({ length: 64 }, () => encode());
}

function each(bytes: number, decode: (text: string) => unknown): () => unknown {
  const all = texts(bytes);
  let next = 0;
  return () => decode(all[next++ % all.length]!);
}

const wakameDecode = (bytes: number) => each(bytes, (text) => decodeEnvelope(text));

const plainDecode = (bytes: number) =>
  each(bytes, (text) => {
    const envelope = JSON.parse(text) as { body: string };
    return { envelope, body: Buffer.from(envelope.body, 'base64') };
  });

export const envelopes: Readonly<Record<string, (budget: Budget) => Promise<Sample>>> = {
  'wakame/envelope-encode-100': loop(wakameEncode, 100),
  'wakame/envelope-decode-100': loop(wakameDecode, 100),
  'wakame/envelope-encode-64k': loop(wakameEncode, 65_536),
  'wakame/envelope-decode-64k': loop(wakameDecode, 65_536),
  'plain/envelope-encode-100': loop(plainEncode, 100),
  'plain/envelope-decode-100': loop(plainDecode, 100),
  'plain/envelope-encode-64k': loop(plainEncode, 65_536),
  'plain/envelope-decode-64k': loop(plainDecode, 65_536),
};
