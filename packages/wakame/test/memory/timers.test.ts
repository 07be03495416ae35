/** The clock of memory brokers: which timers there are, and whom they keep alive. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { memoryBroker } from '../../src/transports/memory/index.js';
import { consume, drain, freshBroker, memoryModule, open, publish, settled, textOf } from '../virtual/harness.js';

describe('with a clock of the test', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  async function channelOn(broker: string) {
    const opened = await open({ broker });
    return { opened, ...(await opened.channel()) };
  }

  test('nothing scheduled, no timer, however much is sent and consumed', async () => {
    const { channel, opened } = await channelOn(freshBroker());
    await channel.queueDeclare('q', { arguments: { 'x-message-ttl': 60_000 } });
    await channel.queueDeclare('plain');
    const inbox = await consume(channel, 'plain', { onDelivery: ({ deliveryTag }) => channel.ack(deliveryTag) });
    for (let i = 0; i < 1000; i++) await publish(channel, 'm', { routingKey: 'plain' });
    await inbox.count(1000);
    expect(vi.getTimerCount()).toBe(0);
    for (let i = 0; i < 100; i++) await publish(channel, 'm', { routingKey: 'q' });
    expect(vi.getTimerCount()).toBe(1);
    await drain(channel, 'q');
    expect(vi.getTimerCount()).toBe(0);
    await opened.connection.close({ timeout: 1000 });
    await opened.transport.dispose();
    expect(vi.getTimerCount()).toBe(0);
  });

  test('renewing leases and sweeping end with the connection, and begin with the next', async () => {
    const broker = freshBroker();
    const module = memoryModule({ lease: 30_000 });
    const opened = await open({ broker, module });
    const { channel } = await opened.channel();
    await channel.queueDeclare('q');
    await consume(channel, 'q');
    const running = vi.getTimerCount();
    expect(running).toBeGreaterThan(0);
    memoryBroker(broker).disconnect();
    await opened.closed;
    expect(vi.getTimerCount()).toBe(0);
    const again = await open({ broker, transport: opened.transport });
    await settled();
    expect(vi.getTimerCount()).toBe(running);
    await again.connection.close({ timeout: 1000 });
    expect(vi.getTimerCount()).toBe(0);
  });

  test('delay, TTL and queue expiry happen when the test lets the time pass, in order', async () => {
    const { channel } = await channelOn(freshBroker());
    await channel.queueDeclare('graves');
    await channel.queueDeclare('q', {
      arguments: { 'x-expires': 3_600_000, 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'graves' },
    });
    const start = Date.now();
    await publish(channel, 'late', { routingKey: 'q', notBefore: start + 60_000 });
    await publish(channel, 'short', { routingKey: 'q', expiration: '1000' });
    await publish(channel, 'early', { routingKey: 'q', notBefore: start + 30_000 });
    vi.advanceTimersByTime(1000);
    await settled();
    expect(await drain(channel, 'graves')).toEqual(['short']);
    vi.advanceTimersByTime(59_000);
    expect(await drain(channel, 'q')).toEqual(['early', 'late']);
    vi.advanceTimersByTime(3_600_000);
    await expect(channel.queueDeclare('q', { passive: true })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(vi.getTimerCount()).toBe(0);
  });

  test('a delay beyond the longest timer is no shorter for it', async () => {
    const { channel } = await channelOn(freshBroker());
    await channel.queueDeclare('q');
    const day = 24 * 3_600_000;
    await publish(channel, 'm', { routingKey: 'q', notBefore: Date.now() + 60 * day });
    vi.advanceTimersByTime(59 * day);
    expect(await drain(channel, 'q')).toEqual([]);
    vi.advanceTimersByTime(day);
    expect(await drain(channel, 'q')).toEqual(['m']);
  });

  test('with the last connection the timer goes; the next finds what happened meanwhile', async () => {
    const broker = freshBroker();
    const { channel, opened } = await channelOn(broker);
    await channel.queueDeclare('q');
    await publish(channel, 'm', { routingKey: 'q', notBefore: Date.now() + 1000 });
    await opened.connection.close({ timeout: 1000 });
    expect(vi.getTimerCount()).toBe(0);
    vi.advanceTimersByTime(1000);
    const { channel: next } = await channelOn(broker);
    expect(await drain(next, 'q')).toEqual(['m']);
  });

  test('purging and deleting take the timers along', async () => {
    const { channel } = await channelOn(freshBroker());
    await channel.queueDeclare('a', { arguments: { 'x-message-ttl': 1000 } });
    await channel.queueDeclare('b', { arguments: { 'x-expires': 1000 } });
    await publish(channel, 'm', { routingKey: 'a' });
    await publish(channel, 'm', { routingKey: 'b', notBefore: Date.now() + 5000 });
    expect(vi.getTimerCount()).toBe(1);
    await channel.queuePurge('a');
    await channel.queueDelete('b');
    expect(vi.getTimerCount()).toBe(0);
  });

  test('using a queue again and again leaves one event for its end', async () => {
    const { channel } = await channelOn(freshBroker());
    for (let i = 0; i < 100; i++) {
      await channel.queueDeclare('q', { arguments: { 'x-expires': 1000 } });
      const inbox = await consume(channel, 'q');
      await channel.cancel(inbox.tag);
      vi.advanceTimersByTime(500);
    }
    await channel.queueDeclare('q', { passive: true });
    vi.advanceTimersByTime(1000);
    await expect(channel.queueDeclare('q', { passive: true })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(vi.getTimerCount()).toBe(0);
  });
});

test('a delayed message alone does not keep the process; somebody who consumes does, as long as he does', async () => {
  const { channel } = await (await open({ broker: freshBroker() })).channel();
  await channel.queueDeclare('q');
  const made = vi.spyOn(globalThis, 'setTimeout');
  try {
    await publish(channel, 'm', { routingKey: 'q', notBefore: Date.now() + 60_000 });
    const timer = made.mock.results.at(-1)?.value as NodeJS.Timeout;
    expect(timer.hasRef()).toBe(false);
    const inbox = await consume(channel, 'q');
    expect(timer.hasRef()).toBe(true);
    await channel.cancel(inbox.tag);
    expect(timer.hasRef()).toBe(false);
    expect(made).toHaveBeenCalledTimes(1);
  } finally {
    made.mockRestore();
  }
});

test('messages of one millisecond become ready in the order in which they were sent', async () => {
  const { channel } = await (await open({ broker: freshBroker() })).channel();
  await channel.queueDeclare('q');
  const notBefore = Date.now() + 20;
  const sent = Array.from({ length: 100 }, (_, i) => `${i}`);
  await Promise.all(sent.map((text) => publish(channel, text, { routingKey: 'q', notBefore })));
  const inbox = await consume(channel, 'q');
  const deliveries = await inbox.count(100);
  expect(deliveries.map(textOf)).toEqual(sent);
});

test('one that is due when it is sent does not overtake those of the same time that were sent before', async () => {
  const { channel } = await (await open({ broker: freshBroker() })).channel();
  await channel.queueDeclare('q');
  const real = Date.now;
  let now = real();
  // Time passes between any two looks at the clock.
  const clock = vi.spyOn(Date, 'now').mockImplementation(() => now++);
  const sent = Array.from({ length: 100 }, (_, i) => `${i}`);
  try {
    for (const offset of [50, 51, 52, 53]) {
      const notBefore = now + offset;
      await Promise.all(sent.map((text) => publish(channel, text, { routingKey: 'q', notBefore })));
      expect(await drain(channel, 'q')).toEqual(sent);
    }
  } finally {
    clock.mockRestore();
  }
});
