import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { loadFlock, type TryLock } from '../../src/transports/filesystem/flock.js';
import { Locks } from '../../src/transports/filesystem/locks.js';
import { resetWarnings } from '../../src/util/warnings.js';
import { temporaryFolder } from './support.js';

const root = temporaryFolder();
let folders = 0;
const flock = await loadFlock();

function newFolder(): string {
  const folder = join(root, `${++folders}`);
  mkdirSync(folder);
  return folder;
}

describe.each<{ name: string; tryLock: TryLock | undefined }>([
  { name: 'with flock', tryLock: flock },
  { name: 'with a lock file', tryLock: undefined },
])('$name', ({ tryLock }) => {
  test('one at a time', async () => {
    const folder = newFolder();
    let inside = 0;
    const done: number[] = [];
    const work = (i: number) =>
      new Locks(folder, tryLock, 10_000).alone(async () => {
        inside++;
        expect(inside).toBe(1);
        await new Promise((resolve) => setImmediate(resolve));
        inside--;
        done.push(i);
      });
    await Promise.all(Array.from({ length: 20 }, (_, i) => work(i)));
    expect(done).toHaveLength(20);
  });

  test('who fails lets it go', async () => {
    const locks = new Locks(newFolder(), tryLock, 1000);
    const failing = () => locks.alone(() => Promise.reject(new Error('on purpose')));
    await expect(failing()).rejects.toThrow('on purpose');
    await expect(failing()).rejects.toThrow('on purpose');
  });

  test('who waits too long is told so', async () => {
    const folder = newFolder();
    const waiting = new Locks(folder, tryLock, 50);
    await new Locks(folder, tryLock, 50).alone(async () => {
      await expect(waiting.alone(async () => undefined)).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
    });
    await expect(waiting.alone(async () => 'free')).resolves.toBe('free');
  });
});

describe('a lock file that was left behind', () => {
  const deadProcess = async () => {
    const child = spawn(process.execPath, ['-e', '']);
    await once(child, 'exit');
    return child.pid;
  };

  test('by a process that is gone is taken away, by one of those who wait', async () => {
    const folder = newFolder();
    writeFileSync(join(folder, 'lock.owner'), `${hostname()} ${await deadProcess()}`);
    let inside = 0;
    const work = () =>
      new Locks(folder, undefined, 10_000).alone(async () => {
        inside++;
        expect(inside).toBe(1);
        await new Promise((resolve) => setImmediate(resolve));
        inside--;
      });
    await Promise.all(Array.from({ length: 10 }, work));
    expect(existsSync(join(folder, 'lock.owner'))).toBe(false);
  });

  test('on another machine is taken away when it is old; one of a living process is not', async () => {
    const folder = newFolder();
    const file = join(folder, 'lock.owner');
    const locks = new Locks(folder, undefined, 100);
    writeFileSync(file, `${hostname()} ${process.pid}`);
    await expect(locks.alone(async () => undefined)).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
    writeFileSync(file, 'elsewhere 1');
    await expect(locks.alone(async () => undefined)).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
    const before = Date.now() / 1000 - 3600;
    utimesSync(file, before, before);
    await expect(new Locks(folder, undefined, 10_000).alone(async () => 'free')).resolves.toBe('free');
  });
});

describe('flock', () => {
  test('is the one of the system: another program waits for it, and the other way round', async () => {
    const file = join(newFolder(), 'file');
    const handle = await open(file, 'w');
    const locks = new Locks(root, flock, 100);
    await locks.lock(handle, 'exclusive');
    const other = spawn('flock', ['-n', file, '-c', 'true']);
    expect(await once(other, 'exit')).toEqual([1, null]);
    await handle.close();

    const holder = spawn('flock', [file, '-c', 'echo held; cat'], { stdio: ['pipe', 'pipe', 'inherit'] });
    await once(holder.stdout, 'data');
    const again = await open(file, 'r');
    await expect(locks.lock(again, 'shared')).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
    holder.stdin.end();
    await once(holder, 'exit');
    await locks.lock(again, 'shared');
    await again.close();
  });

  test('without the package there is none, and one warning', async () => {
    resetWarnings();
    vi.resetModules();
    vi.doMock('koffi', () => {
      throw new Error('not installed');
    });
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    const fresh = await import('../../src/transports/filesystem/flock.js');
    expect(await fresh.loadFlock()).toBeUndefined();
    expect(await fresh.loadFlock()).toBeUndefined();
    expect(warned).toHaveBeenCalledTimes(1);
    expect(warned.mock.calls[0]?.[0]).toMatch(/npm install koffi/);
    warned.mockRestore();
    vi.doUnmock('koffi');
  });
});
