/**
 * The limit for a library: as `raw`, with what none can leave out. Each message is encoded from its parts, names and sizes are checked, each
 * publish has a promise, each delivery is an object of its own with a body of its own.
 */
import { type Adapter, type Message, toJson, touch } from '../adapter.ts';
import type { Properties } from '../wire.ts';
import { frames, Session } from './session.ts';

const SLAB = 65_536;
const COPIED = 16_384;
const SHARE = 131_072 - 8;
const ACK = 80;

/** Bytes on their way out. */
class Out {
  readonly session: Session;
  slab: Buffer = Buffer.allocUnsafeSlow(SLAB);
  at = 0;
  from = 0;
  #scheduled = false;
  readonly #chunks: Uint8Array[] = [];
  #bytes = 0;

  constructor(session: Session) {
    this.session = session;
  }

  room(count: number): void {
    if (this.at + count > SLAB) {
      this.cut();
      this.slab = Buffer.allocUnsafeSlow(SLAB);
      this.at = 0;
      this.from = 0;
    }
  }

  cut(): void {
    if (this.at > this.from) {
      this.#chunks.push(this.slab.subarray(this.from, this.at));
      this.#bytes += this.at - this.from;
    }
    this.from = this.at;
  }

  reference(body: Uint8Array): void {
    this.cut();
    this.#chunks.push(body);
    this.#bytes += body.length;
  }

  schedule(): void {
    if (this.#bytes + this.at - this.from >= SLAB) return this.flush();
    if (this.#scheduled) return;
    this.#scheduled = true;
    process.nextTick(() => {
      this.#scheduled = false;
      this.flush();
    });
  }

  flush(): void {
    this.cut();
    const { socket } = this.session;
    const chunks = this.#chunks;
    if (chunks.length > 1) socket.cork();
    for (const chunk of chunks) socket.write(chunk);
    if (chunks.length > 1) socket.uncork();
    // All of it is written: the slab is filled from its beginning.
    if (socket.writableLength === 0) {
      this.at = 0;
      this.from = 0;
    }
    chunks.length = 0;
    this.#bytes = 0;
  }

  octet(value: number): void {
    this.slab[this.at++] = value;
  }

  short(value: number): void {
    this.slab[this.at] = value >>> 8;
    this.slab[this.at + 1] = value;
    this.at += 2;
  }

  long(value: number): void {
    const { slab, at } = this;
    slab[at] = value >>> 24;
    slab[at + 1] = value >>> 16;
    slab[at + 2] = value >>> 8;
    slab[at + 3] = value;
    this.at = at + 4;
  }

  shortstr(text: string): void {
    const { length } = text;
    if (length > 255) throw new RangeError('too long');
    const { slab, at } = this;
    let i = 0;
    if (length < 12) for (; i < length && text.charCodeAt(i) < 128; i++) slab[at + 1 + i] = text.charCodeAt(i);
    const size = i === length ? length : slab.write(text, at + 1);
    slab[at] = size;
    this.at = at + 1 + size;
  }

  longstr(text: string): void {
    const size = this.slab.write(text, this.at + 4);
    this.long(size);
    this.at += size;
  }

  /** Type, channel and a size to be patched. */
  open(type: number, channel: number): number {
    const { at } = this;
    this.octet(type);
    this.short(channel);
    this.at += 4;
    return at;
  }

  close(opened: number): void {
    const { at } = this;
    this.at = opened + 3;
    this.long(at - opened - 7);
    this.at = at;
    this.octet(0xce);
  }

  table(members: Readonly<Record<string, unknown>>): void {
    const start = this.at;
    this.at += 4;
    for (const key of Object.keys(members)) {
      this.shortstr(key);
      this.field(members[key]);
    }
    const end = this.at;
    this.at = start;
    this.long(end - start - 4);
    this.at = end;
  }

  field(value: unknown): void {
    if (typeof value === 'string') {
      this.octet(0x53);
      this.longstr(value);
    } else if (typeof value === 'number') {
      this.octet(0x49);
      this.long(value);
    } else if (typeof value === 'boolean') {
      this.octet(0x74);
      this.octet(value ? 1 : 0);
    } else if (value === null) {
      this.octet(0x56);
    } else if (Array.isArray(value)) {
      this.octet(0x41);
      const start = this.at;
      this.at += 4;
      for (const item of value) this.field(item);
      const end = this.at;
      this.at = start;
      this.long(end - start - 4);
      this.at = end;
    } else if (typeof value === 'object') {
      this.octet(0x46);
      this.table(value as Record<string, unknown>);
    } else {
      throw new TypeError('not a field');
    }
  }

  properties(properties: Properties): void {
    const start = this.at;
    this.at += 2;
    let flags = 0;
    const { contentType, contentEncoding, headers, deliveryMode, priority, correlationId, replyTo, messageId } =
      properties;
    if (contentType !== undefined) {
      flags |= 0x8000;
      this.shortstr(contentType);
    }
    if (contentEncoding !== undefined) {
      flags |= 0x4000;
      this.shortstr(contentEncoding);
    }
    if (headers !== undefined) {
      flags |= 0x2000;
      this.table(headers);
    }
    if (deliveryMode !== undefined) {
      flags |= 0x1000;
      this.octet(deliveryMode);
    }
    if (priority !== undefined) {
      flags |= 0x0800;
      this.octet(priority);
    }
    if (correlationId !== undefined) {
      flags |= 0x0400;
      this.shortstr(correlationId);
    }
    if (replyTo !== undefined) {
      flags |= 0x0200;
      this.shortstr(replyTo);
    }
    if (messageId !== undefined) {
      flags |= 0x0080;
      this.shortstr(messageId);
    }
    const end = this.at;
    this.at = start;
    this.short(flags);
    this.at = end;
  }

  publish(
    channel: number,
    exchange: string,
    routingKey: string,
    properties: Properties | undefined,
    body: Buffer,
  ): void {
    if (typeof exchange !== 'string' || typeof routingKey !== 'string') throw new TypeError('not a name');
    if (!(body instanceof Uint8Array)) throw new TypeError('not a body');
    this.room(4096 + (body.length < COPIED ? body.length : 0));
    let opened = this.open(1, channel);
    this.long((60 << 16) | 40);
    this.short(0);
    this.shortstr(exchange);
    this.shortstr(routingKey);
    this.octet(0);
    this.close(opened);
    opened = this.open(2, channel);
    this.short(60);
    this.short(0);
    this.long(0);
    this.long(body.length);
    if (properties === undefined) this.short(0);
    else this.properties(properties);
    this.close(opened);
    if (body.length < COPIED) {
      if (body.length > 0) {
        opened = this.open(3, channel);
        this.slab.set(body, this.at);
        this.at += body.length;
        this.close(opened);
      }
    } else {
      for (let from = 0; from < body.length; from += SHARE) {
        const share = body.subarray(from, from + SHARE);
        this.room(8);
        opened = this.open(3, channel);
        this.at = opened + 3;
        this.long(share.length);
        this.reference(share);
        this.room(1);
        this.octet(0xce);
      }
    }
    this.schedule();
  }
}

type Resolve = () => void;

/** A message as it is handed out. */
class Delivery {
  readonly channel: number;
  readonly consumerTag: string;
  readonly deliveryTag: number;
  readonly redelivered: boolean;
  readonly exchange: string;
  readonly routingKey: string;
  properties: Buffer | undefined;
  body: Buffer | undefined;

  constructor(channel: number, tag: string, deliveryTag: number, redelivered: boolean, exchange: string, key: string) {
    this.channel = channel;
    this.consumerTag = tag;
    this.deliveryTag = deliveryTag;
    this.redelivered = redelivered;
    this.exchange = exchange;
    this.routingKey = key;
    this.properties = undefined;
    this.body = undefined;
  }
}

/** The same few strings over and over: the one before is taken again when its bytes are the same. */
class Interned {
  #text = '';
  #bytes: Buffer = Buffer.alloc(0);

  read(data: Buffer, start: number, end: number): string {
    const bytes = this.#bytes;
    const { length } = bytes;
    let i = 0;
    if (length === end - start) while (i < length && bytes[i] === data[start + i]) i++;
    if (i === length && length === end - start) return this.#text;
    this.#bytes = Buffer.from(data.subarray(start, end));
    this.#text = data.toString('utf8', start, end);
    return this.#text;
  }
}

export const adapter: Adapter = {
  async publisher(url, { confirm, channels }) {
    const session = await Session.open(url);
    for (let number = 1; number <= channels; number++) await session.channel(number, confirm);
    const out = new Out(session);
    const { socket } = session;
    const resolved = Promise.resolve();
    const rings: (Resolve | undefined)[][] = Array.from(
      { length: channels },
      () => new Array<Resolve | undefined>(4096),
    );
    const next: number[] = new Array<number>(channels).fill(1);
    const first: number[] = new Array<number>(channels).fill(1);
    if (confirm) {
      session.onData = frames(
        (type, channel, data, start) => {
          if (type !== 1 || data[start + 1] !== 60 || data[start + 3] !== ACK) return;
          const tag = data.readUInt32BE(start + 8);
          const ring = rings[channel - 1]!;
          const from = data[start + 12] === 1 ? first[channel - 1]! : tag;
          if (tag >= next[channel - 1]!) throw new Error('confirmed what was never published');
          for (let one = from; one <= tag; one++) {
            const resolve = ring[one & 4095];
            ring[one & 4095] = undefined;
            resolve?.();
          }
          if (from === first[channel - 1]) first[channel - 1] = tag + 1;
        },
        () => undefined,
      );
    }
    const publish = (queue: string, message: Message, number: number): Promise<void> => {
      out.publish(number + 1, '', queue, message.properties, toJson(message));
      if (!confirm) return resolved;
      return new Promise((resolve) => {
        const tag = next[number]!;
        next[number] = tag + 1;
        rings[number]![tag & 4095] = resolve;
      });
    };
    return {
      async batch(queue, message, count, number) {
        let last: Promise<void> | undefined;
        for (let i = 0; i < count; i++) last = publish(queue, message, number);
        await last;
        if (socket.writableNeedDrain) await new Promise((resolve) => socket.once('drain', resolve));
      },
      confirmed(queue, message, done, number) {
        publish(queue, message, number).then(done, done);
      },
      async sync() {
        out.flush();
        for (let number = 1; number <= channels; number++) await session.sync(number);
      },
      async close() {
        socket.destroy();
      },
    };
  },

  async consumer(url, { queue, ack, prefetch, read, json, consumers }, onMessage) {
    const session = await Session.open(url);
    for (let number = 1; number <= consumers; number++) await session.channel(number, false);
    const out = new Out(session);
    const tags = new Interned();
    const exchanges = new Interned();
    const keys = new Interned();
    let sum = 0;
    const handler = (delivery: Delivery) => {
      if (read) sum += touch(readHeaders(delivery.properties!));
      if (json) sum += Object.keys(JSON.parse(delivery.body!.toString()) as object).length;
      if (ack) {
        out.room(64);
        const opened = out.open(1, delivery.channel);
        out.long((60 << 16) | ACK);
        out.long(Math.floor(delivery.deliveryTag / 2 ** 32));
        out.long(delivery.deliveryTag);
        out.octet(0);
        out.close(opened);
        out.schedule();
      }
      onMessage();
    };
    const current: (Delivery | undefined)[] = new Array<Delivery | undefined>(consumers + 1);
    let left = 0;
    let filled = 0;
    const onData = frames(
      (type, channel, data, start, end) => {
        if (channel > consumers) throw new Error('malformed');
        if (type === 1) {
          if (data[start + 1] !== 60 || data[start + 3] !== 60) return;
          let at = start + 4;
          const tagEnd = at + 1 + data[at]!;
          const tag = tags.read(data, at + 1, tagEnd);
          at = tagEnd;
          const deliveryTag = data.readUInt32BE(at) * 2 ** 32 + data.readUInt32BE(at + 4);
          const redelivered = data[at + 8] === 1;
          at += 9;
          const exchangeEnd = at + 1 + data[at]!;
          const exchange = exchanges.read(data, at + 1, exchangeEnd);
          const keyEnd = exchangeEnd + 1 + data[exchangeEnd]!;
          if (keyEnd !== end) throw new Error('malformed');
          const key = keys.read(data, exchangeEnd + 1, keyEnd);
          current[channel] = new Delivery(channel, tag, deliveryTag, redelivered, exchange, key);
          return;
        }
        const delivery = current[channel];
        if (delivery === undefined) throw new Error('malformed');
        if (type === 2) {
          const properties = Buffer.allocUnsafe(end - start - 12);
          data.copy(properties, 0, start + 12, end);
          delivery.properties = properties;
          left = data.readUInt32BE(start + 8);
          filled = 0;
        } else if (type === 3) {
          const size = end - start;
          if (filled + size > left) throw new Error('malformed');
          if (size === left && size >= 4096) {
            delivery.body = data.subarray(start, end);
          } else {
            delivery.body ??= Buffer.allocUnsafe(left);
            data.copy(delivery.body, filled, start, end);
          }
          filled += size;
        }
        if (filled < left) return;
        current[channel] = undefined;
        handler(delivery);
      },
      () => undefined,
    );
    for (let number = 1; number <= consumers; number++) session.consume(number, queue, !ack, prefetch, onData);
    return {
      async close() {
        session.socket.destroy();
        if (sum < 0) throw new Error('unreachable');
      },
    };
  },

  async channels(url, count) {
    const session = await Session.open(url);
    for (let number = 1; number <= count; number++) await session.channel(number, false);
    return {
      async close() {
        session.socket.destroy();
      },
    };
  },
};

const interned = new Map<string, Interned[]>();

function readHeaders(properties: Buffer): Record<string, unknown> {
  let at = 2;
  const flags = properties.readUInt16BE(0);
  for (const flag of [0x8000, 0x4000]) if (flags & flag) at += 1 + properties[at]!;
  if ((flags & 0x2000) === 0) return {};
  const end = at + 4 + properties.readUInt32BE(at);
  return readTable(properties, at + 4, end);
}

function readTable(data: Buffer, start: number, end: number): Record<string, unknown> {
  const table: Record<string, unknown> = {};
  let at = start;
  let slots = interned.get('table');
  if (slots === undefined) {
    slots = [];
    interned.set('table', slots);
  }
  for (let i = 0; at < end; i++) {
    const keyEnd = at + 1 + data[at]!;
    slots[i] ??= new Interned();
    const key = slots[i]!.read(data, at + 1, keyEnd);
    at = keyEnd;
    const code = data[at++];
    if (code === 0x53) {
      const size = data.readUInt32BE(at);
      table[key] = data.toString('utf8', at + 4, at + 4 + size);
      at += 4 + size;
    } else if (code === 0x49) {
      table[key] = data.readInt32BE(at);
      at += 4;
    } else if (code === 0x74) {
      table[key] = data[at++] === 1;
    } else if (code === 0x56) {
      table[key] = null;
    } else if (code === 0x41) {
      // Only [null, null] comes here.
      const size = data.readUInt32BE(at);
      table[key] = Array.from({ length: size }, () => null);
      at += 4 + size;
    } else {
      throw new Error('malformed');
    }
  }
  return table;
}
