/**
 * A broker that does nothing as fast as can be, in a process of its own, so that a client's own cost is what is measured: it reads over what
 * is published, confirms it, and sends deliveries encoded beforehand as fast as the socket takes them.
 *
 * What a queue is called says what it does:
 *
 * | queue | |
 * | --- | --- |
 * | `deliver-<bytes>` | endless messages of that size, within the prefetch; `deliver-<bytes>-celery` with properties and headers, `deliver-json` a JSON object |
 * | `echo…` | what is published to it (by its name as routing key) goes to its consumer |
 * | `hold…` | what is published to it is never confirmed |
 * | any other | what is published to it is gone |
 *
 * Run as a program it listens on a free port of the loopback interface and prints it.
 */
import { createServer, type Socket } from 'node:net';
import { celeryBody, celeryProperties, jsonText } from './messages.ts';
import { bodyFrame, frame, headerFrame, propertiesOf, shortstr, table, uint } from './wire.ts';

const DELIVER = 0x003c003c;
/** Deliveries in one write. */
const BLOCK_BYTES = 65_536;
const NOTHING: Buffer = Buffer.alloc(0);

interface Consumer {
  readonly connection: Connection;
  readonly channel: number;
  readonly tag: string;
  readonly noAck: boolean;
  readonly prefetch: number;
  readonly source: Source | undefined;
  unacked: number;
}

/** Messages of an endless queue: everything of a delivery but its tag. */
interface Source {
  readonly block: Buffer;
  /** Where the delivery tags stand in the block. */
  readonly tagsAt: readonly number[];
}

interface Channel {
  confirming: boolean;
  published: number;
  confirmed: number;
  prefetch: number;
  delivered: number;
  readonly consumers: Consumer[];
}

/** Consumers of echoing queues, on whatever connection. */
const echoes = new Map<string, Consumer>();

class Connection {
  readonly #socket: Socket;
  readonly #channels = new Map<number, Channel>();
  #rest = NOTHING;
  #greeted = false;
  #consumers: Consumer[] = [];
  /** A publish whose content is awaited. */
  #publish: { channel: number; routingKey: string } | undefined;
  #echo: { frames: Buffer[]; left: number; consumer: Consumer; routingKey: string } | undefined;
  #out: Buffer[] = [];
  #next = 0;
  /** Bytes of a body frame that are still to be read over. */
  #skip = 0;

  constructor(socket: Socket) {
    this.#socket = socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('drain', () => this.#deliver());
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      this.#consumers = [];
      for (const [queue, consumer] of echoes) if (consumer.connection === this) echoes.delete(queue);
    });
  }

  #read(chunk: Buffer): void {
    let data = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    this.#rest = NOTHING;
    if (!this.#greeted) {
      if (data.length < 8) {
        this.#rest = data;
        return;
      }
      this.#greeted = true;
      data = data.subarray(8);
      this.#start();
    }
    let at = Math.min(this.#skip, data.length);
    this.#skip -= at;
    while (data.length - at >= 8) {
      const size = data.readUInt32BE(at + 3);
      const left = size + 8 - (data.length - at);
      if (left > 0 && data[at] === 3 && this.#echo === undefined) {
        this.#skip = left;
        at = data.length;
      }
      if (left > 0) break;
      this.#frame(data, at, size);
      at += size + 8;
    }
    if (at < data.length) this.#rest = Buffer.from(data.subarray(at));
    this.#confirm();
    this.#flush();
    this.#deliver();
  }

  #frame(data: Buffer, at: number, size: number): void {
    const channel = (data[at + 1]! << 8) | data[at + 2]!;
    switch (data[at]) {
      case 1:
        return this.#method(channel, data, at + 7, at + 7 + size);
      case 2:
        return this.#header(channel, data, at, size);
      case 3:
        if (this.#echo !== undefined) this.#echoed(data.subarray(at, at + size + 8), size);
    }
  }

  #header(channel: number, data: Buffer, at: number, size: number): void {
    const publish = this.#publish;
    if (publish === undefined) return;
    this.#publish = undefined;
    const consumer = echoes.get(publish.routingKey);
    if (consumer === undefined) return;
    const left = data.readUInt32BE(at + 7 + 8);
    this.#echo = {
      frames: [Buffer.from(data.subarray(at, at + size + 8))],
      left,
      consumer,
      routingKey: publish.routingKey,
    };
    if (left === 0) this.#echoed(undefined, 0);
    void channel;
  }

  #echoed(body: Buffer | undefined, size: number): void {
    const echo = this.#echo!;
    if (body !== undefined) echo.frames.push(Buffer.from(body));
    echo.left -= size;
    if (echo.left > 0) return;
    this.#echo = undefined;
    const { consumer, frames, routingKey } = echo;
    for (const one of frames) one.writeUInt16BE(consumer.channel, 1);
    const target = consumer.connection;
    const channel = target.#channels.get(consumer.channel)!;
    const method = frame(1, consumer.channel, deliverMethod(consumer.tag, ++channel.delivered, '', routingKey));
    target.#out.push(method, ...frames);
    if (target !== this) target.#flush();
  }

  #method(number: number, data: Buffer, at: number, end: number): void {
    const id = data.readUInt32BE(at);
    const channel = this.#channels.get(number);
    switch (id) {
      case 0x003c0028: {
        // basic.publish
        if (channel !== undefined) channel.published++;
        const exchangeLength = data[at + 6]!;
        const keyAt = at + 7 + exchangeLength;
        const first = data[keyAt + 1];
        const isEcho = first === 0x65;
        // 'hold…' is never confirmed: such a channel holds nothing else.
        if (first === 0x68 && channel !== undefined) channel.published = 0;
        this.#publish = isEcho
          ? { channel: number, routingKey: data.toString('latin1', keyAt + 1, keyAt + 1 + data[keyAt]!) }
          : undefined;
        return;
      }
      case 0x003c0050:
        return this.#acked(
          channel,
          data.readUInt32BE(at + 4) * 2 ** 32 + data.readUInt32BE(at + 8),
          data[at + 12]! & 1,
        );
      case 0x000a000b:
        return this.#reply(0, 10, 30, uint(2047, 2), uint(131_072, 4), uint(0, 2));
      case 0x000a001f:
        return undefined;
      case 0x000a0028:
        return this.#reply(0, 10, 41, shortstr(''));
      case 0x000a0032:
        this.#reply(0, 10, 51);
        this.#flush();
        this.#socket.end();
        return undefined;
      case 0x0014000a:
        this.#channels.set(number, {
          ...{ confirming: false, published: 0, confirmed: 0, prefetch: 0, delivered: 0, consumers: [] },
        });
        return this.#reply(number, 20, 11, uint(0, 4));
      case 0x00140014:
        return this.#reply(number, 20, 21, data.subarray(at + 4, end));
      case 0x00140028:
        this.#channels.delete(number);
        this.#consumers = this.#consumers.filter((consumer) => consumer.channel !== number);
        return this.#reply(number, 20, 41);
      case 0x0028000a:
        return this.#reply(number, 40, 11);
      case 0x00280014:
        return this.#reply(number, 40, 21);
      case 0x0032000a: {
        const queue = data.toString('latin1', at + 7, at + 7 + data[at + 6]!) || `amq.gen-${Math.random()}`;
        return this.#reply(number, 50, 11, shortstr(queue), uint(0, 4), uint(0, 4));
      }
      case 0x00320014:
        return this.#reply(number, 50, 21);
      case 0x0032001e:
        return this.#reply(number, 50, 31, uint(0, 4));
      case 0x00320028:
        return this.#reply(number, 50, 41, uint(0, 4));
      case 0x003c000a:
        if (channel !== undefined) channel.prefetch = data.readUInt16BE(at + 8);
        return this.#reply(number, 60, 11);
      case 0x003c0014:
        return this.#consume(number, data, at);
      case 0x003c001e: {
        const tag = data.toString('latin1', at + 5, at + 5 + data[at + 4]!);
        this.#consumers = this.#consumers.filter((consumer) => consumer.tag !== tag || consumer.channel !== number);
        return this.#reply(number, 60, 31, shortstr(tag));
      }
      case 0x0055000a:
        if (channel !== undefined) channel.confirming = true;
        return this.#reply(number, 85, 11);
      case 0x003c005a:
      case 0x003c0078:
      case 0x00140015:
        return undefined;
      default:
        throw new Error(`the null broker does not know method ${id >>> 16}.${id & 0xffff}`);
    }
  }

  #start(): void {
    const capabilities = { publisher_confirms: true, 'basic.nack': true, consumer_cancel_notify: true };
    const properties = table({ product: 'null broker', version: '3.13.0', capabilities });
    this.#reply(0, 10, 10, Buffer.from([0, 9]), properties, longstr('PLAIN AMQPLAIN'), longstr('en_US'));
    this.#flush();
  }

  #consume(number: number, data: Buffer, at: number): void {
    const queueEnd = at + 7 + data[at + 6]!;
    const queue = data.toString('latin1', at + 7, queueEnd);
    const tagEnd = queueEnd + 1 + data[queueEnd]!;
    const tag = data.toString('latin1', queueEnd + 1, tagEnd) || `ctag-${Math.random()}`;
    const noAck = (data[tagEnd]! & 2) !== 0;
    const channel = this.#channels.get(number)!;
    const consumer: Consumer = {
      ...{ connection: this, channel: number, tag, noAck, prefetch: channel.prefetch, unacked: 0 },
      source: queue.startsWith('deliver-') ? makeSource(queue, number, tag) : undefined,
    };
    channel.consumers.push(consumer);
    if (consumer.source === undefined) echoes.set(queue, consumer);
    else this.#consumers.push(consumer);
    this.#reply(number, 60, 21, shortstr(tag));
  }

  #acked(channel: Channel | undefined, tag: number, multiple: number): void {
    if (channel === undefined) return;
    if (multiple === 0) {
      // Which consumer had it does not matter: their shares are alike.
      const consumer = channel.consumers.length === 1 ? channel.consumers[0] : mostUnacked(channel.consumers);
      if (consumer !== undefined) consumer.unacked--;
      return;
    }
    // Everything up to the tag: what was delivered after it stays.
    let left = channel.delivered - tag;
    for (const consumer of channel.consumers) {
      const stays = Math.min(consumer.unacked, left);
      left -= stays;
      consumer.unacked = stays;
    }
  }

  /** One ack for all that came in a chunk, as brokers do that are busy. */
  #confirm(): void {
    for (const [number, channel] of this.#channels) {
      if (!channel.confirming || channel.published === channel.confirmed) continue;
      const count = channel.published - channel.confirmed;
      if (count < 0) continue;
      channel.confirmed = channel.published;
      this.#reply(number, 60, 80, uint(channel.published, 8), Buffer.from([count > 1 ? 1 : 0]));
    }
  }

  #deliver(): void {
    let idle = 0;
    while (idle < this.#consumers.length && !this.#socket.writableNeedDrain && !this.#socket.destroyed) {
      const consumer = this.#consumers[this.#next++ % this.#consumers.length]!;
      const { source, channel } = consumer;
      if (source === undefined) return;
      const { tagsAt, block } = source;
      const room = consumer.noAck || consumer.prefetch === 0 ? tagsAt.length : consumer.prefetch - consumer.unacked;
      const count = Math.min(room, tagsAt.length);
      if (count <= 0) {
        idle++;
        continue;
      }
      idle = 0;
      const state = this.#channels.get(channel)!;
      const bytes = Buffer.from(
        block.subarray(0, count === tagsAt.length ? block.length : tagsAt[count]! - source.tagsAt[0]!),
      );
      for (let i = 0; i < count; i++) {
        state.delivered++;
        bytes.writeUInt32BE(Math.floor(state.delivered / 2 ** 32), tagsAt[i]!);
        bytes.writeUInt32BE(state.delivered >>> 0, tagsAt[i]! + 4);
      }
      if (!consumer.noAck) consumer.unacked += count;
      this.#socket.write(bytes);
    }
  }

  #reply(channel: number, classId: number, methodId: number, ...fields: Buffer[]): void {
    this.#out.push(frame(1, channel, Buffer.concat([uint(classId, 2), uint(methodId, 2), ...fields])));
  }

  #flush(): void {
    if (this.#out.length === 0) return;
    const bytes = this.#out.length === 1 ? this.#out[0]! : Buffer.concat(this.#out);
    this.#out = [];
    if (!this.#socket.destroyed) this.#socket.write(bytes);
  }
}

function longstr(text: string): Buffer {
  return Buffer.concat([uint(Buffer.byteLength(text), 4), Buffer.from(text)]);
}

function mostUnacked(consumers: readonly Consumer[]): Consumer | undefined {
  let most = consumers[0];
  for (const consumer of consumers) if (consumer.unacked > (most?.unacked ?? 0)) most = consumer;
  return most;
}

function deliverMethod(tag: string, deliveryTag: number, exchange: string, routingKey: string): Buffer {
  const fields = [uint(DELIVER, 4), shortstr(tag), uint(deliveryTag, 8), Buffer.from([0])];
  return Buffer.concat([...fields, shortstr(exchange), shortstr(routingKey)]);
}

function makeSource(queue: string, channel: number, tag: string): Source {
  const [, kind = '', celery] = queue.split('-');
  const body = kind === 'json' ? Buffer.from(jsonText) : celery ? celeryBody : Buffer.alloc(Number(kind), 'x');
  const properties =
    kind === 'json'
      ? propertiesOf({
          contentType: 'application/json',
          contentEncoding: 'utf-8',
          deliveryMode: 2,
          priority: 0,
          headers: {},
        })
      : celery === undefined
        ? propertiesOf({})
        : propertiesOf(celeryProperties);
  const one = Buffer.concat([
    frame(1, channel, deliverMethod(tag, 0, '', queue)),
    headerFrame(channel, body.length, properties),
    ...(body.length > 0 ? splitBody(channel, body) : []),
  ]);
  const count = Math.max(1, Math.floor(BLOCK_BYTES / one.length));
  const block = Buffer.concat(Array.from({ length: count }, () => one));
  const tagAt = 7 + 4 + 1 + Buffer.byteLength(tag);
  return { block, tagsAt: Array.from({ length: count }, (_, i) => i * one.length + tagAt) };
}

function splitBody(channel: number, body: Buffer): Buffer[] {
  const share = 131_072 - 8;
  const count = Math.ceil(body.length / share);
  return Array.from({ length: count }, (_, i) => bodyFrame(channel, body.subarray(i * share, (i + 1) * share)));
}

if (import.meta.main) {
  const server = createServer((socket) => new Connection(socket));
  server.listen({ port: 0, host: '127.0.0.1' }, () => {
    const address = server.address();
    if (typeof address === 'object' && address !== null) console.log(address.port);
  });
  // The bench holds this end of the pipe: when it goes, so does the broker.
  process.stdin.resume().on('end', () => process.exit());
}
