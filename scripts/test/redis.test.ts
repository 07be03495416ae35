import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { isListening } from '../lib/brokers/processes.ts';
import { startRedis, startRedisSentinels } from '../lib/brokers/redis.ts';

describe('a Redis of the test’s own', () => {
  it('starts empty, keeps what it holds over a kill, and leaves nothing when it is stopped', async () => {
    const server = await startRedis({ name: 'own', config: 'maxclients 77' });
    try {
      expect(await server.cli('dbsize')).toBe('0');
      expect(await server.cli('config', 'get', 'maxclients')).toBe('maxclients\n77');
      await server.cli('set', 'key', 'value');
      await server.kill();
      expect(await server.isRunning()).toBe(false);
      await server.start();
      expect(await server.cli('get', 'key')).toBe('value');
      expect(await server.cli('-s', server.socket, 'get', 'key')).toBe('value');
      expect(await isListening(Number(new URL(server.tlsUrl).port))).toBe(true);
    } finally {
      await server.stop();
    }
    expect(await isListening(server.port)).toBe(false);
    expect(existsSync(server.socket)).toBe(false);
  });

  it('answers nothing while it is paused', async () => {
    const server = await startRedis({ name: 'paused' });
    try {
      server.pause();
      const answer = server.cli('ping');
      const first = await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, 300, 'nothing'))]);
      expect(first).toBe('nothing');
      server.resume();
      expect(await answer).toBe('PONG');
    } finally {
      await server.stop();
    }
  });

  it('may be a master with a replica, which sentinels exchange', async () => {
    const group = await startRedisSentinels({ name: 'group' });
    try {
      const first = await group.master();
      await first.cli('set', 'key', 'value');
      await first.cli('wait', '1', '1000');
      await first.kill();
      const second = await group.promoted(first);
      expect(second.port).not.toBe(first.port);
      expect(await second.cli('get', 'key')).toBe('value');
    } finally {
      await group.stop();
    }
  });
}, 60_000);
