import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Takes a lock between processes: a file that holds the owner's process id. A lock whose owner has died is taken over.
 *
 * @param {string} file
 * @param {{ wait?: boolean, onHeld?: (owner: number) => void }} [options] `onHeld` learns which process holds the lock, if one
 *   does; `wait: false` then gives up.
 * @returns {Promise<(() => void) | undefined>} Releases the lock; `undefined` when it gave up.
 */
export async function lock(file, { wait = true, onHeld } = {}) {
  mkdirSync(dirname(file), { recursive: true });
  const mine = `${file}.${process.pid}`;
  const release = () => rmSync(file, { force: true });
  try {
    for (let told = false; ; ) {
      // A hard link appears with its content in one step, so nobody ever reads a lock without an owner.
      writeFileSync(mine, String(process.pid));
      try {
        linkSync(mine, file);
        return release;
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') throw error;
      }
      const owner = ownerOf(file);
      if (owner === undefined) continue;
      if (!isAlive(owner)) {
        takeAway(file, owner, mine);
        continue;
      }
      if (!told) onHeld?.(owner);
      told = true;
      if (!wait) return undefined;
      await sleep(100);
    }
  } finally {
    rmSync(mine, { force: true });
  }
}

/** @param {string} file */
function ownerOf(file) {
  try {
    return Number(readFileSync(file, 'utf8'));
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * Removes a dead owner's lock, and only that: another process may have done so and taken the lock in the meantime.
 *
 * @param {string} file
 * @param {number} owner
 * @param {string} scratch
 */
function takeAway(file, owner, scratch) {
  try {
    renameSync(file, scratch);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  if (Number(readFileSync(scratch, 'utf8')) !== owner) linkSync(scratch, file);
}

/** @param {number} pid */
export function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
}

/** @param {unknown} error */
function codeOf(error) {
  return /** @type {{ code?: string }} */ (error).code;
}
