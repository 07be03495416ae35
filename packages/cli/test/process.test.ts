/** Signals and pipes, with real processes. */
import { describe, expect, it, vi } from 'vitest';
import { bench, range } from './support/command.js';

// Processes need their time to start on a machine that has much else to do.
vi.setConfig({ testTimeout: 60_000 });

const { start, startOnTerminal, queue, fill, numbers, depth } = bench('cli-process', 'rabbitmq');

describe('a process that is told to end', () => {
  it('Ctrl-C lets the program at work finish, and gives the rest back', async () => {
    const name = await queue();
    await fill(name, 3);
    const running = start('consume', name, '--exec', 'echo started; read line; sleep 0.3; echo finished');
    await running.until(({ stdout }) => stdout.includes('started'));
    running.process.kill('SIGINT');
    const { code, stdout } = await running.ended;
    expect([code, stdout]).toEqual([130, 'started\nfinished\n']);
    expect(await numbers(name)).toEqual([1, 2]);
  });

  it('SIGTERM ends a consumer that waits', async () => {
    const name = await queue();
    const running = start('consume', name, '--format', 'body');
    await fill(name, 1);
    await running.until(({ stdout }) => stdout === '{"n":0}\n');
    running.process.kill('SIGTERM');
    expect(await running.ended).toMatchObject({ code: 143, signal: null });
    expect(await depth(name)).toBe(0);
  });

  it('a reader that goes away loses nothing', async () => {
    const name = await queue();
    await fill(name, 500);
    const running = start('consume', name, '--format', 'body', '--prefetch', '1');
    await running.until(({ stdout }) => stdout.includes('\n'));
    running.process.stdout.destroy();
    expect((await running.ended).code).toBe(0);
    const left = await numbers(name);
    const printed = running.stdout.trim().split('\n').length;
    // What the reader never saw may have been in the pipe: nothing else is missing.
    expect(left).toEqual(range(left.length, 500 - left.length));
    expect(left.length).toBeGreaterThan(0);
    expect(printed).toBeLessThanOrEqual(500 - left.length);
  });
});

describe('on a terminal', () => {
  it('asks before it destroys, and takes nothing but yes for yes', async () => {
    const name = await queue();
    await fill(name, 2);
    const answer = async (text: string) => {
      const running = startOnTerminal(['purge', name]);
      await running.until(({ stdout }) => stdout.includes('[y/N]'));
      running.process.stdin.write(text);
      return running.ended;
    };
    // No, the end of the input, Ctrl-C.
    const refused = await Promise.all(['n\n', '\x04', '\x03'].map(answer));
    expect(refused.map(({ code }) => code)).toEqual([1, 1, 130]);
    expect(await depth(name)).toBe(2);
    const { code, stdout } = await answer('y\n');
    expect([code, stdout]).toEqual([0, expect.stringMatching(/dropped 2 messages/)]);
    expect(await depth(name)).toBe(0);
  });

  it('shows progress and colours; NO_COLOR keeps the colours away', async () => {
    const name = await queue();
    const args = ['publish', '--queue', name, '{}', '--repeat', '40', '--rate', '100'];
    const publishing = await startOnTerminal(args).ended;
    expect(publishing.stdout).toContain('\r\x1b[2Kpublished ');
    const [coloured, plain] = await Promise.all([
      startOnTerminal(['get', name, '--peek']).ended,
      startOnTerminal(['get', name, '--peek'], { NO_COLOR: '1' }).ended,
    ]);
    expect(coloured.stdout).toContain(`\x1b[1m${name}\x1b[22m`);
    expect(plain.stdout).not.toContain('\x1b');
    expect(plain.stdout).toContain(name);
  });
});
