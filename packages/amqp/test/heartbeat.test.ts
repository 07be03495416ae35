import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Heartbeat } from '../src/heartbeat.js';
import { pair } from './support/index.js';

describe('Heartbeat', () => {
  const link = {
    received: 0,
    sent: 0,
    beats: 0,
    deaths: 0,
    send: () => undefined as void,
    dead: () => undefined as void,
  };
  let heartbeat: Heartbeat;

  beforeEach(() => {
    vi.useFakeTimers();
    Object.assign(link, { received: 0, sent: 0, beats: 0, deaths: 0 });
    link.send = () => {
      link.beats += 1;
      link.sent += 8;
    };
    link.dead = () => {
      link.deaths += 1;
      heartbeat.stop();
    };
    heartbeat = new Heartbeat(10_000, link);
  });
  afterEach(() => {
    heartbeat.stop();
    vi.useRealTimers();
  });

  it('sends every half interval when nothing else is sent', async () => {
    for (let seconds = 0; seconds < 60; seconds += 1) {
      link.received += 1;
      await vi.advanceTimersByTimeAsync(1000);
    }
    expect(link.beats).toBe(12);
  });

  it('sends nothing while other bytes are sent', async () => {
    for (let seconds = 0; seconds < 60; seconds += 1) {
      link.received += 1;
      link.sent += 1;
      await vi.advanceTimersByTimeAsync(1000);
    }
    expect(link.beats).toBe(0);
  });

  it('declares a peer dead after two intervals of silence, not before', async () => {
    await vi.advanceTimersByTimeAsync(19_999);
    expect(link.deaths).toBe(0);
    await vi.advanceTimersByTimeAsync(2);
    expect(link.deaths).toBe(1);
  });

  it('takes any byte for life', async () => {
    for (let seconds = 0; seconds < 100; seconds += 19) {
      await vi.advanceTimersByTimeAsync(19_000);
      link.received += 1;
    }
    expect(link.deaths).toBe(0);
  });

  it('does not blame the peer for an event loop of ours that was blocked', async () => {
    await vi.advanceTimersByTimeAsync(17_500);
    // A handler computes for ten minutes. The timer runs once when it is done, before the socket is read.
    vi.setSystemTime(Date.now() + 600_000);
    vi.advanceTimersToNextTimer();
    expect(link.deaths).toBe(0);
    link.received += 8;
    await vi.advanceTimersByTimeAsync(1);
    expect(link.deaths).toBe(0);
  });

  it('gives the socket a turn before it gives up', async () => {
    await vi.advanceTimersByTimeAsync(19_999);
    setImmediate(() => {
      link.received += 8;
    });
    await vi.advanceTimersByTimeAsync(5);
    expect(link.deaths).toBe(0);
  });

  it('stops', async () => {
    heartbeat.stop();
    await vi.advanceTimersByTimeAsync(100_000);
    expect([link.beats, link.deaths]).toEqual([0, 0]);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('heartbeats of a connection', () => {
  const withHeartbeat = { tune: { heartbeat: 1 } };

  it('py-amqp#6, py-amqp#60: are sent, and a peer that sends some stays connected', async () => {
    const { connection, peer } = await pair(async (fake) => {
      await fake.handshake(withHeartbeat);
      await fake.serve();
    });
    expect(connection.heartbeat).toBe(1000);
    const timer = setInterval(() => peer.heartbeat(), 400);
    try {
      await peer.until(() => peer.heartbeats >= 5);
      expect(connection.state).toBe('open');
    } finally {
      clearInterval(timer);
    }
  });

  it('cloudamqp#95, cloudamqp#31: missed: HEARTBEAT_TIMEOUT after two intervals; the half-open socket is dropped', async () => {
    const { connection, peer } = await pair((fake) => void fake.handshake(withHeartbeat));
    const started = performance.now();
    const [error] = await once(connection, 'close');
    expect(error).toMatchObject({ code: 'HEARTBEAT_TIMEOUT', recoverable: true });
    expect(performance.now() - started).toBeGreaterThan(1700);
    await peer.hangup();
  });

  it('amqplib#261, amqplib#750: a handler that blocks the event loop longer than two intervals does not cost the connection', async () => {
    const { connection, peer } = await pair(async (fake) => {
      await fake.handshake(withHeartbeat);
      await fake.serve();
    });
    const until = performance.now() + 2600;
    while (performance.now() < until) {
      // Busy, as a handler may be.
    }
    // Ours and the fake broker's loop are the same: it only speaks now.
    peer.heartbeat();
    const channel = await connection.channel();
    expect(channel.state).toBe('open');
  });

  it('are off when one side says 0', async () => {
    const { connection, peer } = await pair((fake) => void fake.handshake(withHeartbeat), { heartbeat: 0 });
    expect(connection.heartbeat).toBe(0);
    await new Promise((resolve) => setTimeout(resolve, 2300));
    expect(connection.state).toBe('open');
    expect(peer.heartbeats).toBe(0);
  });
});
