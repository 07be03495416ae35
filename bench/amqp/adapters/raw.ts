/**
 * The limit: a program written for the scenario, on a bare socket. Messages are encoded once and copied; nothing is checked, nothing is handed
 * out, there is no promise for each message.
 */
import type { Adapter, Message } from '../adapter.ts';
import { bodyFrame, frame, headerFrame, method, propertiesOf, shortstr, uint } from '../wire.ts';
import { frames, Session } from './session.ts';

const SLAB = 65_536;
const DELIVER = 60;
const ACK = 80;

export const adapter: Adapter = {
  async publisher(url, { confirm, channels }) {
    const session = await Session.open(url);
    for (let number = 1; number <= channels; number++) await session.channel(number, confirm);
    const { socket } = session;
    const encode = encoder();
    let slab = Buffer.allocUnsafeSlow(SLAB);
    let filled = 0;
    const flush = () => {
      if (filled === 0) return;
      socket.write(slab.subarray(0, filled));
      slab = Buffer.allocUnsafeSlow(SLAB);
      filled = 0;
    };
    const put = (parts: readonly Buffer[]) => {
      for (const part of parts) {
        if (filled + part.length > SLAB) flush();
        if (part.length > SLAB / 2) {
          flush();
          socket.write(part);
        } else {
          slab.set(part, filled);
          filled += part.length;
        }
      }
    };
    const waiting: ((error?: unknown) => void)[][] = Array.from({ length: channels }, () => []);
    const done: number[] = new Array<number>(channels).fill(0);
    let scheduled = false;
    if (confirm) {
      session.onData = frames(
        (_type, channel, data, start) => {
          if (data[start + 3] !== ACK) return;
          const tag = data.readUInt32BE(start + 8);
          const queue = waiting[channel - 1]!;
          // Confirms of one publisher come in order from these brokers.
          const from = done[channel - 1]!;
          done[channel - 1] = tag;
          for (const one of queue.splice(0, tag - from)) one();
        },
        () => flush(),
      );
    }
    return {
      async batch(queue, message, count, number) {
        const parts = encode(queue, message, number + 1);
        socket.cork();
        for (let i = 0; i < count; i++) put(parts);
        flush();
        socket.uncork();
        if (socket.writableNeedDrain) await new Promise((resolve) => socket.once('drain', resolve));
      },
      confirmed(queue, message, callback, number) {
        put(encode(queue, message, number + 1));
        waiting[number]!.push(callback);
        if (scheduled) return;
        scheduled = true;
        process.nextTick(() => {
          scheduled = false;
          flush();
        });
      },
      async sync() {
        for (let number = 1; number <= channels; number++) await session.sync(number);
      },
      async close() {
        socket.destroy();
      },
    };
  },

  async consumer(url, { queue, ack, prefetch, consumers }, onMessage) {
    const session = await Session.open(url);
    for (let number = 1; number <= consumers; number++) await session.channel(number, false);
    const { socket } = session;
    const template = method(1, 60, ACK, uint(0, 8), uint(0, 1));
    let slab = Buffer.allocUnsafeSlow(SLAB);
    let filled = 0;
    let left = 0;
    const flush = () => {
      if (filled === 0) return;
      socket.write(slab.subarray(0, filled));
      slab = Buffer.allocUnsafeSlow(SLAB);
      filled = 0;
    };
    const complete = (channel: number, tag: number) => {
      if (ack) {
        if (filled + template.length > SLAB) flush();
        slab.set(template, filled);
        slab[filled + 2] = channel;
        slab[filled + 15] = tag >>> 24;
        slab[filled + 16] = tag >>> 16;
        slab[filled + 17] = tag >>> 8;
        slab[filled + 18] = tag;
        filled += template.length;
      }
      onMessage();
    };
    let tag = 0;
    const onData = frames((type, channel, data, start, end) => {
      if (type === 1) {
        if (data[start + 1] !== 60 || data[start + 3] !== DELIVER) return;
        const tagAt = start + 5 + data[start + 4]! + 4;
        tag = (data[tagAt]! << 24) | (data[tagAt + 1]! << 16) | (data[tagAt + 2]! << 8) | data[tagAt + 3]!;
      } else if (type === 2) {
        left = data.readUInt32BE(start + 8);
        if (left === 0) complete(channel, tag);
      } else if (type === 3) {
        left -= end - start;
        if (left === 0) complete(channel, tag);
      }
    }, flush);
    for (let number = 1; number <= consumers; number++) session.consume(number, queue, !ack, prefetch, onData);
    return {
      async close() {
        socket.destroy();
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

/** Frames of a message, from the second time on those of the first; a JSON object is written anew each time. */
function encoder(): (queue: string, message: Message, channel: number) => readonly Buffer[] {
  const known = new Map<number, { message: Message; parts: readonly Buffer[] }>();
  return (queue, message, channel) => {
    const found = known.get(channel);
    if (found?.message === message && message.json === undefined) return found.parts;
    const body = message.json === undefined ? message.body : Buffer.from(JSON.stringify(message.json));
    const publish = Buffer.concat([uint(60, 2), uint(40, 2), uint(0, 2), shortstr(''), shortstr(queue), uint(0, 1)]);
    const head = Buffer.concat([
      frame(1, channel, publish),
      headerFrame(channel, body.length, propertiesOf(message.properties ?? {})),
    ]);
    const share = 131_072 - 8;
    const count = Math.ceil(body.length / share);
    const bodies = Array.from({ length: count }, (_, i) =>
      bodyFrame(channel, body.subarray(i * share, (i + 1) * share)),
    );
    const parts = body.length < 16_384 ? [Buffer.concat([head, ...bodies])] : [head, ...bodies];
    known.set(channel, { message, parts });
    return parts;
  };
}
