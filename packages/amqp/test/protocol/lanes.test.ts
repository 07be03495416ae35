import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OutboundBuffer } from '../../src/protocol/index.js';
import { type Received, Receiver } from './receiver.js';

const MiB = 1_048_576;
const create = (frameMax?: number) => new OutboundBuffer({ onPending: () => {}, frameMax });
const total = (chunks: Uint8Array[]) => chunks.reduce((sum, { length }) => sum + length, 0);

/** Channel and type of each frame in `bytes`, equal neighbours once. */
function frames(bytes: Buffer): string[] {
  const kinds = ['', 'method', 'header', 'body', '', '', '', '', 'heartbeat'];
  const found: string[] = [];
  for (let at = 0; at < bytes.length; at += bytes.readUInt32BE(at + 3) + 8) {
    const frame = `${bytes.readUInt16BE(at + 1)} ${kinds[bytes[at] as number]}`;
    if (found.at(-1) !== frame) found.push(frame);
  }
  return found;
}

describe('a long body', () => {
  it('does not hold up heartbeats and other channels', () => {
    const out = create();
    out.publish(1, '', 'k', false, undefined, Buffer.alloc(64 * MiB));
    const first = out.take();
    expect(total(first)).toBeLessThan(MiB);
    expect(out.byteLength).toBeGreaterThan(63 * MiB);

    out.heartbeat();
    out.publish(2, '', 'other', false, undefined, 'short');
    out.ack(3, 1, false);
    const second = Buffer.concat(out.take());
    expect(frames(second)).toEqual(['0 heartbeat', '2 method', '2 header', '2 body', '3 method', '1 body']);
    expect(second.length).toBeLessThan(MiB);
  });

  it('gets a share even when short frames alone exceed the budget', () => {
    const out = create();
    out.publish(1, '', 'k', false, undefined, Buffer.alloc(4 * MiB));
    out.take();
    for (let round = 0; round < 3; round++) {
      const before = out.byteLength;
      for (let i = 0; i < 1000; i++) out.publish(2, '', 'k', false, undefined, Buffer.alloc(1000));
      const added = out.byteLength - before;
      const taken = Buffer.concat(out.take(1000));
      expect(taken.length).toBeGreaterThan(added);
      expect(frames(taken).at(-1)).toBe('1 body');
    }
  });

  it('takes turns with others, each getting as much', () => {
    const out = create();
    for (const channel of [1, 2, 3]) out.publish(channel, '', 'k', false, undefined, Buffer.alloc(10 * MiB, channel));
    const sent = [0, 0, 0, 0];
    for (let taken = 0; taken < 30; taken++) {
      const bytes = Buffer.concat(out.take());
      for (let at = 0; at < bytes.length; ) {
        const size = bytes.readUInt32BE(at + 3);
        const channel = bytes.readUInt16BE(at + 1);
        if (bytes[at] === 3) sent[channel] = (sent[channel] as number) + size;
        at += size + 8;
      }
      const shares = sent.slice(1);
      expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(131_072);
    }
    expect(sent[1]).toBeGreaterThan(MiB);
  });

  it('takes turns by bytes, not by frames, where frames are short', () => {
    const out = create(4096);
    out.publish(1, '', 'k', false, undefined, Buffer.alloc(MiB));
    out.publish(2, '', 'k', false, undefined, Buffer.alloc(MiB));
    const order = frames(Buffer.concat(out.take()));
    expect(order).toEqual(['1 method', '1 header', '2 method', '2 header', '1 body', '2 body']);
  });

  it('keeps everything else of its channel behind it, in order', () => {
    const out = create();
    out.publish(1, '', 'k', false, undefined, Buffer.alloc(MiB));
    out.ack(1, 7, false);
    out.publish(1, '', 'k', false, undefined, 'short');
    out.publish(1, '', 'k', false, undefined, Buffer.alloc(20_000));
    out.publish(1, '', 'k', false, undefined, Buffer.alloc(MiB));
    out.method(1, 'channel.close', { replyCode: 200, replyText: '', classId: 0, methodId: 0 });
    const taken: Uint8Array[] = [];
    while (out.byteLength > 0) taken.push(...out.take());
    expect(frames(Buffer.concat(taken))).toEqual([
      ...['1 method', '1 header', '1 body'],
      ...['1 method', '1 header', '1 body'],
      ...['1 method', '1 header', '1 body'],
      ...['1 method', '1 header', '1 body'],
      '1 method',
    ]);
    expect(taken.every(({ length }) => length > 0)).toBe(true);
  });

  it('lets its channel go straight on once it is out', () => {
    const out = create();
    out.publish(1, '', 'k', false, undefined, Buffer.alloc(MiB));
    while (out.byteLength > 0) out.take();
    out.publish(2, '', 'k', false, undefined, Buffer.alloc(MiB));
    out.ack(1, 1, false);
    const next = frames(Buffer.concat(out.take()));
    expect(next.indexOf('1 method')).toBeLessThan(next.indexOf('2 body'));
  });

  it('is completed when its channel is dropped, and what waits behind it is forgotten', () => {
    const out = create();
    out.publish(1, '', 'k', false, undefined, Buffer.alloc(MiB, 1));
    out.publish(2, '', 'k', false, undefined, Buffer.alloc(MiB, 2));
    out.publish(1, '', 'k', false, undefined, 'behind');
    out.publish(1, '', 'k', false, undefined, Buffer.alloc(MiB, 3));
    const taken = out.take();
    out.dropChannel(1);
    out.dropChannel(9);
    out.method(1, 'channel.close-ok', {});
    const { byteLength } = out;
    const rest: Uint8Array[] = [];
    while (out.byteLength > 0) rest.push(...out.take());
    expect(total(rest)).toBe(byteLength);
    const receiver = new Receiver();
    receiver.execute(Buffer.concat([...taken, ...rest]));
    expect(receiver.received.filter(({ channel }) => channel === 1)).toMatchObject([
      { name: 'basic.publish', body: Buffer.alloc(MiB, 1) },
      { name: 'channel.close-ok' },
    ]);
    expect(receiver.received.filter(({ channel }) => channel === 2)).toHaveLength(1);
  });

  it('that was not begun is forgotten with its channel', () => {
    const out = create();
    // The first body ends with a turn, so that the second one's method is next on the channel.
    out.publish(1, '', 'k', false, undefined, Buffer.alloc(2 * (131_072 - 8)));
    out.publish(1, '', 'k', false, undefined, Buffer.alloc(MiB));
    out.publish(2, '', 'k', false, undefined, Buffer.alloc(MiB));
    const receiver = new Receiver();
    while (receiver.received.length === 0) for (const chunk of out.take(1)) receiver.execute(chunk);
    out.dropChannel(1);
    out.method(1, 'channel.close-ok', {});
    while (out.byteLength > 0) for (const chunk of out.take()) receiver.execute(chunk);
    expect(receiver.received.map(({ channel, name }) => `${channel} ${name}`)).toEqual([
      '1 basic.publish',
      '1 channel.close-ok',
      '2 basic.publish',
    ]);
  });

  it('is forgotten at once where nothing but the end of the connection follows', () => {
    const out = create();
    for (const channel of [1, 2]) out.publish(channel, '', 'k', false, undefined, Buffer.alloc(MiB));
    out.ack(1, 1, false);
    out.take();
    out.dropBodies();
    expect(out.byteLength).toBe(0);
    out.method(0, 'connection.close-ok', {});
    expect(frames(Buffer.concat(out.take()))).toEqual(['0 method']);
  });

  it('may be as long as 128 MiB without memory of its own', () => {
    const body = Buffer.alloc(128 * MiB);
    const out = create();
    const before = process.memoryUsage().arrayBuffers;
    out.publish(1, '', 'k', false, undefined, body);
    for (let i = 0; i < 100; i++) out.take();
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(MiB);
  });
});

describe('any mixture of frames', () => {
  const operation = fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('ack' as const), channel: fc.integer({ min: 1, max: 4 }) }) },
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant('publish' as const),
        channel: fc.integer({ min: 1, max: 4 }),
        size: fc.constantFrom(0, 10, 5000, 16_384, 131_072, 131_073, 200_000, 700_000),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('heartbeat' as const) }) },
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant('take' as const), budget: fc.integer({ min: 1, max: 400_000 }) }),
    },
  );

  it('arrives complete, in the order of each channel', () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 40 }), fc.constantFrom(4096, 131_072, 0), (operations, frameMax) => {
        const out = create(frameMax);
        const receiver = new Receiver(frameMax);
        const sent: string[] = [];
        let counter = 0;
        const take = (budget?: number) => {
          const before = out.byteLength;
          const chunks = out.take(budget);
          expect(total(chunks)).toBe(before - out.byteLength);
          if (before > 0) expect(total(chunks)).toBeGreaterThan(0);
          for (const chunk of chunks) receiver.execute(chunk);
        };
        for (const step of operations) {
          counter++;
          if (step.kind === 'take') take(step.budget);
          else if (step.kind === 'heartbeat') out.heartbeat();
          else if (step.kind === 'ack') {
            out.ack(step.channel, counter, false);
            sent.push(`${step.channel} ack ${counter}`);
          } else {
            out.publish(step.channel, '', `${counter}`, false, undefined, Buffer.alloc(step.size, counter));
            sent.push(`${step.channel} publish ${counter} ${step.size}`);
          }
        }
        while (out.byteLength > 0) take();
        const received = receiver.received.filter(({ name }) => name !== 'heartbeat').map(summary);
        for (const channel of ['1', '2', '3', '4']) {
          const of = (list: string[]) => list.filter((entry) => entry.startsWith(channel));
          expect(of(received)).toEqual(of(sent));
        }
      }),
      { numRuns: 60 },
    );
  });

  function summary({ channel, arguments: args, body }: Received): string {
    const { deliveryTag, routingKey } = args as { deliveryTag: number; routingKey: string };
    if (body === undefined) return `${channel} ack ${deliveryTag}`;
    expect(body.equals(Buffer.alloc(body.length, Number(routingKey)))).toBe(true);
    return `${channel} publish ${routingKey} ${body.length}`;
  }
});
