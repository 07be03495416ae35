/**
 * Fixed workloads of the hot paths without any socket, so that every run does exactly the same: what they allocate is counted and compared
 * with what they allocated before (`main.ts`).
 */
import { Connection, Queue } from 'wakame';
import { decodeEnvelope, encodeEnvelope } from 'wakame/wire';
import { Channel } from '../../packages/amqp/dist/channel.js';
import { ChannelEngine } from '../../packages/amqp/dist/channel-engine.js';
import type { Connection as AmqpConnection } from '../../packages/amqp/dist/connection.js';
import { FrameParser } from '../../packages/amqp/dist/protocol/parser.js';
import { OutboundBuffer } from '../../packages/amqp/dist/protocol/writer.js';
import { celeryBody, celeryProperties, jsonObject } from '../amqp/messages.ts';
import { bodyFrame, headerFrame, method, propertiesOf, shortstr, uint } from '../amqp/wire.ts';

/** Does so much work; what it leaves behind counts as well. */
export type Workload = (messages: number) => Promise<void>;

const BLOCK = 256;
const body = Buffer.alloc(100, 'x');

/** A channel whose frames go nowhere, and a parser whose frames come to it. */
function loopback(): { channel: Channel; feed: (bytes: Buffer) => void } {
  // Written at once, as by a socket that keeps up.
  const onFull = () => {
    outbound.take();
    outbound.reuse(outbound.spent);
    outbound.rewind();
  };
  const outbound = new OutboundBuffer({ onPending: () => undefined, onFull });
  const engine = new ChannelEngine(1, {
    ...{ outbound, bufferedBytes: 0, rpcTimeout: 1000, closeTimeout: 1000, maxBodyBytes: 1e9, isRabbitMQ: true },
    congested: false,
    turn: () => Promise.resolve(),
    dropChannel: () => undefined,
    release: () => undefined,
  });
  // The channel asks its connection nothing on these paths.
  const channel = new Channel(undefined as unknown as AmqpConnection, engine);
  const parser = new FrameParser({
    onMethod: (_channel, id, buffer, start, end) => engine.onMethod(id, buffer, start, end),
    onContentHeader: (_channel, classId, size, buffer, start, end) => {
      engine.onContentHeader(classId, size, buffer, start, end);
    },
    onBody: (_channel, buffer, start, end, left) => engine.onBody(buffer, start, end, left),
    onHeartbeat: () => undefined,
  });
  engine.state = 'open';
  return { channel, feed: (bytes) => parser.execute(bytes) };
}

async function amqpPublish(): Promise<Workload> {
  const { channel } = loopback();
  return async (messages) => {
    for (let i = 0; i < messages; i++) void channel.basicPublish('media', 'video', body);
  };
}

async function amqpPublishHeaders(): Promise<Workload> {
  const { channel } = loopback();
  return async (messages) => {
    for (let i = 0; i < messages; i++) void channel.basicPublish('media', 'video', celeryBody, celeryProperties);
  };
}

async function amqpConfirm(): Promise<Workload> {
  const { channel, feed } = loopback();
  channel.confirmSelect({ nowait: true }).catch(() => undefined);
  let confirmed = 0;
  return async (messages) => {
    for (let from = 0; from < messages; from += BLOCK) {
      let last: Promise<void> | undefined;
      for (let i = 0; i < BLOCK; i++) last = channel.basicPublish('media', 'video', body);
      confirmed += BLOCK;
      feed(method(1, 60, 80, uint(confirmed, 8), uint(1, 1)));
      await last;
    }
  };
}

/** Deliveries of one kind, encoded once: their tags are the same from block to block. */
function deliveries(tag: string, properties: Buffer, content: Buffer): Buffer {
  const one = (number: number) => {
    const deliver = [shortstr(tag), uint(number, 8), uint(0, 1), shortstr('media'), shortstr('video')];
    return [method(1, 60, 60, ...deliver), headerFrame(1, content.length, properties), bodyFrame(1, content)];
  };
  return Buffer.concat(Array.from({ length: BLOCK }, (_, i) => one(i + 1)).flat());
}

function amqpConsume(properties: Buffer, content: Buffer, read: boolean): () => Promise<Workload> {
  return async () => {
    const { channel, feed } = loopback();
    let sum = 0;
    const started = channel.basicConsume('video', { consumerTag: 'c', nowait: true }, (delivery) => {
      if (read) sum += Object.keys(delivery.properties.headers ?? {}).length;
      channel.basicAck(delivery.deliveryTag);
    });
    await started;
    const block = deliveries('c', properties, content);
    return async (messages) => {
      for (let from = 0; from < messages; from += BLOCK) feed(block);
      if (sum < 0) throw new Error('unreachable');
    };
  };
}

/** Producer and Consumer, over the broker in memory. */
async function memoryCycle(): Promise<Workload> {
  const connection = await new Connection('memory://guard').connect();
  const queue = new Queue('guard');
  await queue.bind(connection).declare();
  const producer = connection.producer({ routingKey: 'guard' });
  let left = 0;
  let done: (() => void) | undefined;
  const consumer = connection.consumer(queue, {
    prefetch: BLOCK,
    onMessage(message) {
      void message.ack();
      if (--left === 0) done?.();
    },
  });
  await consumer.consume();
  return async (messages) => {
    for (let from = 0; from < messages; from += BLOCK) {
      left = BLOCK;
      const all = new Promise<void>((resolve) => {
        done = resolve;
      });
      for (let i = 0; i < BLOCK; i++) void producer.publish(jsonObject);
      await all;
    }
  };
}

const envelope = {
  ...{ body, exchange: 'media', routingKey: 'video', deliveryTag: '5a0e', redelivered: false },
  properties: { contentType: 'application/json', contentEncoding: 'utf-8', headers: {}, deliveryMode: 2, priority: 0 },
};

async function envelopeEncode(): Promise<Workload> {
  let length = 0;
  return async (messages) => {
    for (let i = 0; i < messages; i++) length += encodeEnvelope(envelope).length;
    if (length < 0) throw new Error('unreachable');
  };
}

async function envelopeDecode(): Promise<Workload> {
  const text = encodeEnvelope(envelope);
  let length = 0;
  return async (messages) => {
    for (let i = 0; i < messages; i++) length += decodeEnvelope(text).body.length;
    if (length < 0) throw new Error('unreachable');
  };
}

const none = propertiesOf({});
const celery = propertiesOf(celeryProperties);

export const workloads: Readonly<Record<string, () => Promise<Workload>>> = {
  'amqp publish': amqpPublish,
  'amqp publish with headers': amqpPublishHeaders,
  'amqp publish confirmed': amqpConfirm,
  'amqp consume and ack': amqpConsume(none, body, false),
  'amqp consume and ack, headers unread': amqpConsume(celery, celeryBody, false),
  'amqp consume and ack, headers read': amqpConsume(celery, celeryBody, true),
  'memory publish, consume, ack': memoryCycle,
  'envelope encode': envelopeEncode,
  'envelope decode': envelopeDecode,
};
