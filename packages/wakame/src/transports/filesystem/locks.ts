import { randomUUID } from 'node:crypto';
import { type FileHandle, link, open, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { RecoverableConnectionError } from '../../errors.js';
import { codeOf, removed, statOf, textOf } from './files.js';
import type { LockMode, TryLock } from './flock.js';

/** Longest pause between two tries, in milliseconds. */
const LONGEST_PAUSE = 20;
/** Nobody holds a lock file for as long as this, in milliseconds: it was left behind. */
const LEFT_BEHIND = 60_000;

/**
 * The locks of a control folder: one for all that is ours in it, which every change of it takes; and those that Python takes on its files of bindings.
 * Without `flock` (see flock.ts) the former is a file that only one can make, and the latter are none.
 */
export class Locks {
  readonly #folder: string;
  readonly #tryLock: TryLock | undefined;
  readonly #timeout: number;

  /** @param timeout Milliseconds after which waiting is given up. */
  constructor(folder: string, tryLock: TryLock | undefined, timeout: number) {
    this.#folder = folder;
    this.#tryLock = tryLock;
    this.#timeout = timeout;
  }

  /** Does it while nobody else changes anything. Rejects with CONNECTION_LOST when somebody does for too long. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    if (this.#tryLock === undefined) return this.#withLockFile(work);
    const handle = await open(join(this.#folder, 'lock'), 'a');
    try {
      await this.lock(handle, 'exclusive');
      return await work();
    } finally {
      await handle.close();
    }
  }

  /** Locks an open file as Python does, until it is closed. */
  async lock(handle: FileHandle, mode: LockMode): Promise<void> {
    const { fd } = handle;
    const tryLock = this.#tryLock;
    if (tryLock !== undefined) await this.#until(async () => tryLock(fd, mode));
  }

  async #until(attempt: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + this.#timeout;
    for (let pause = 1; !(await attempt()); pause = Math.min(LONGEST_PAUSE, pause * 2)) {
      if (performance.now() > deadline) {
        const text = `filesystem: the folder ${this.#folder} was locked by others for more than ${this.#timeout} ms`;
        throw new RecoverableConnectionError(text, { code: 'CONNECTION_LOST' });
      }
      await sleep(pause * (0.5 + Math.random()));
    }
  }

  async #withLockFile<T>(work: () => Promise<T>): Promise<T> {
    const file = join(this.#folder, 'lock.owner');
    const own = join(this.#folder, `lock.${randomUUID()}`);
    await writeFile(own, `${hostname()} ${process.pid}`);
    try {
      await this.#until(async () => {
        try {
          await link(own, file);
          return true;
        } catch (error) {
          if (codeOf(error) !== 'EEXIST') throw error;
          await this.#breakIfLeft(file);
          return false;
        }
      });
      try {
        return await work();
      } finally {
        removed(file);
      }
    } finally {
      removed(own);
    }
  }

  /** Takes away the lock file of a process that is gone. One at a time: who comes late must not take away the lock of the next. */
  async #breakIfLeft(file: string): Promise<void> {
    if (!isLeft(file)) return;
    const breaking = `${file}.breaking`;
    try {
      await (await open(breaking, 'wx')).close();
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
      const found = statOf(breaking);
      if (found !== undefined && Date.now() - found.mtimeMs > LEFT_BEHIND) removed(breaking);
      return;
    }
    try {
      if (isLeft(file)) removed(file);
    } finally {
      removed(breaking);
    }
  }
}

function isLeft(file: string): boolean {
  const [text, found] = [textOf(file), statOf(file)];
  if (text === undefined || found === undefined) return false;
  if (Date.now() - found.mtimeMs > LEFT_BEHIND) return true;
  const at = text.lastIndexOf(' ');
  if (text.slice(0, at) !== hostname()) return false;
  try {
    process.kill(Number(text.slice(at + 1)), 0);
    return false;
  } catch (error) {
    return codeOf(error) === 'ESRCH';
  }
}
