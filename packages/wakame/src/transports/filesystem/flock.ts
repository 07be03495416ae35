/**
 * The lock that Python takes on files (`fcntl.flock`). Node has none; the system's own function is called through the package koffi.
 *
 * Nobody waits for a lock within the call: that would take one of the few threads that Node has for files.
 */
import { warnOnce } from '../../util/warnings.js';

/** From `sys/file.h`, the same on Linux, macOS and the BSDs. */
const SHARED = 1;
const EXCLUSIVE = 2;
const AT_ONCE = 4;

export type LockMode = 'shared' | 'exclusive';

/** Whether the open file is locked now. Closing it ends the lock, and so does the end of the process. */
export type TryLock = (descriptor: number, mode: LockMode) => boolean;

let loading: Promise<TryLock | undefined> | undefined;

/** Undefined where there is none; warned of once. */
export function loadFlock(): Promise<TryLock | undefined> {
  loading ??= load();
  return loading;
}

async function load(): Promise<TryLock | undefined> {
  try {
    if (process.platform === 'win32') throw new Error('Windows has no flock');
    const { default: koffi } = await import('koffi');
    const flock = koffi.load(null).func('int flock(int descriptor, int operation)');
    return (descriptor, mode) => flock(descriptor, (mode === 'shared' ? SHARED : EXCLUSIVE) | AT_ONCE) === 0;
  } catch (error) {
    warnOnce(
      'filesystem without flock',
      `filesystem: the locks are among Node processes only (${(error as Error).message}). ` +
        "Beside Python, install the package 'koffi': npm install koffi",
    );
    return undefined;
  }
}
