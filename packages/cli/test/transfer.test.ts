import { describe, expect, it, vi } from 'vitest';
import { BROKERS, bench, range } from './support/command.js';

// Processes need their time to start on a machine that has much else to do.
vi.setConfig({ testTimeout: 60_000 });

describe.each(BROKERS)('on %s', (broker) => {
  const { url, connection, channel, wakame, succeed, start, queue, queueName, fill, numbers, depth } = bench(
    'cli-transfer',
    broker,
  );

  describe('move and copy', () => {
    it('pass on all that waits, in order, byte by byte', async () => {
      const [from, to] = [await queue(), await queue()];
      const properties = {
        contentType: 'application/x-python-serialize',
        contentEncoding: 'binary',
        headers: { compression: 'application/x-gzip', n: 1 },
        correlationId: 'c',
        replyTo: 'r',
        priority: 3,
        deliveryMode: 1,
        timestamp: 1_700_000_000,
      };
      await channel.publish({
        exchange: '',
        routingKey: from,
        body: Buffer.from([0x80, 0, 255]),
        properties,
        unroutable: 'reject',
      });
      expect(JSON.parse(await succeed('copy', from, to, '--json'))).toEqual({ copied: 1, left: 0, dryRun: false });
      expect([await depth(from), await depth(to)]).toEqual([1, 1]);
      const copied = await channel.get(to, { noAck: true });
      expect([...(copied?.body ?? [])]).toEqual([0x80, 0, 255]);
      expect(copied?.properties).toMatchObject(properties);
      await channel.queuePurge(from);

      await fill(from, 150);
      expect(JSON.parse(await succeed('move', from, to, '--count', '50', '--json'))).toMatchObject({ moved: 50 });
      await succeed('move', from, to);
      expect(await numbers(to)).toEqual(range(150));
      expect(await depth(from)).toBe(0);
    });

    it('heed filters and leave the rest in order; a dry run changes nothing', async () => {
      const [from, to] = [await queue(), await queue()];
      const producer = connection.producer();
      for (const n of range(6)) await producer.publish({ n }, { routingKey: from, headers: { even: n % 2 === 0 } });
      const dry = await succeed('move', from, to, '--header', 'even=true', '--dry-run');
      expect(dry).toMatch(/3 messages would be moved, 3 left alone/);
      expect(await numbers(from)).toEqual(range(6));
      await succeed('move', from, to, '--header', 'even=true');
      expect(await numbers(to)).toEqual([0, 2, 4]);
      expect(await numbers(from)).toEqual([1, 3, 5]);
    });

    it('keep what has nowhere to go', async () => {
      const from = await queue();
      await fill(from, 3);
      expect((await wakame(['move', from, queueName()])).code).toBe(5);
      expect((await wakame(['move', from, '--to-exchange', 'amq.direct'])).code).toBe(1);
      expect((await wakame(['move', from])).code).toBe(2);
      expect((await wakame(['move', from, from])).code).toBe(2);
      expect(await numbers(from)).toEqual(range(3));
    });
  });

  describe('replay', () => {
    it('sends dead letters back to where they died, as new', async () => {
      const dead = await queue();
      const name = await queue({ arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead } });
      await fill(name, 3);
      for (const _ of range(3)) {
        const delivery = await channel.get(name);
        await channel.reject(delivery?.deliveryTag);
      }
      await connection.producer().publish({ n: 99 }, { routingKey: dead });
      await expect.poll(() => depth(dead)).toBe(4);
      expect(JSON.parse(await succeed('replay', dead, '--json'))).toEqual({ replayed: 3, left: 1, dryRun: false });
      expect(await numbers(name)).toEqual(range(3));
      expect(await numbers(dead)).toEqual([99]);
      expect((await channel.get(name, { noAck: true }))?.properties.headers).toEqual({});
    });
  });

  describe('bridge', () => {
    it('passes on what comes, until Ctrl-C', async () => {
      const [from, to] = [await queue(), await queue()];
      const running = start('bridge', url, from, url, '', '--to-key', to);
      await running.until(({ stderr }) => stderr.includes('passing on'));
      await fill(from, 20);
      await expect.poll(() => depth(to), { timeout: 30_000 }).toBe(20);
      running.process.kill('SIGINT');
      const { code, stdout } = await running.ended;
      expect([code, stdout]).toEqual([130, 'passed on 20 messages\n']);
      expect(await numbers(to)).toEqual(range(20));
      expect(await depth(from)).toBe(0);
    });

    it('passes on exactly as many as asked for; exit code 3 when fewer come', async () => {
      const [from, to] = [await queue(), await queue()];
      await fill(from, 15);
      const args = ['bridge', url, from, url, '', '--to-key', to, '--prefetch', '4', '--timeout', '500ms'];
      expect(JSON.parse(await succeed(...args, '--count', '11', '--json'))).toEqual({ passed: 11 });
      expect(await numbers(to)).toEqual(range(11));
      expect(await wakame([...args, '--count', '11'])).toMatchObject({ code: 3, stdout: 'passed on 4 messages\n' });
      expect(await numbers(to)).toEqual(range(15));
    });

    it('stops with what the other side refuses, and keeps it', async () => {
      const from = await queue();
      await fill(from, 2);
      const { code } = await wakame(['bridge', url, from, url, '', '--to-key', 'cli-transfer.nowhere']);
      expect(code).toBe(1);
      expect(await numbers(from)).toEqual([0, 1]);
    });
  });
});
