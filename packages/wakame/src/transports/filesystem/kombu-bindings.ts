/**
 * The file in which Kombu keeps the bindings of an exchange: `[["x.*", "^x\\.[^\\.]+$", "queue"], …]`, the newest first. It is changed in its place, under a lock
 * on itself, as Python does: one who waits for the lock has the file open, and another in its place would never be seen by it.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { DecodeError } from '../../errors.js';
import { codeOf } from './files.js';
import type { Locks } from './locks.js';

export interface KombuBinding {
  readonly routingKey: string;
  /** Kombu's regular expression, of topic exchanges only. */
  readonly pattern: string;
  readonly queue: string;
}

/** Bytes. Many thousands of bindings. */
const MOST_BYTES = 64 * 1024 * 1024;
/** A file is made, by Python and by us, before it is locked and written to: what is no list yet may be one soon. Tries, and milliseconds between them. */
const TRIES = 40;
const PAUSE = 10;

/** No file: no bindings. */
export async function readBindings(file: string, locks: Locks): Promise<readonly KombuBinding[]> {
  // Without the lock between the tries, since whoever is to write waits for it.
  return untilList(file, async (isLast) => {
    let handle: FileHandle;
    try {
      handle = await open(file, 'r');
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return [];
      throw error;
    }
    try {
      await locks.lock(handle, 'shared');
      const content = await contentOf(handle, file);
      // Who made it died before writing.
      return content === 'empty' ? (isLast ? [] : undefined) : content;
    } finally {
      await handle.close();
    }
  });
}

/**
 * @param flush Resolves when the disk has it.
 * @param change Gives the bindings as they are to be; the same list: nothing is written.
 */
export async function changeBindings(
  file: string,
  locks: Locks,
  flush: boolean,
  change: (bindings: readonly KombuBinding[]) => readonly KombuBinding[],
): Promise<void> {
  const handle = await open(file, constants.O_RDWR | constants.O_CREAT, 0o666);
  try {
    await locks.lock(handle, 'exclusive');
    const before = await untilList(file, async () => {
      const content = await contentOf(handle, file);
      return content === 'empty' ? [] : content;
    });
    const { size } = await handle.stat();
    const after = change(before);
    if (after === before) return;
    const text = JSON.stringify(after.map(({ routingKey, pattern, queue }) => [routingKey, pattern, queue]));
    const length = Buffer.byteLength(text);
    // In one step, and blank where more was before: whoever is killed now leaves a list behind.
    const content = Buffer.alloc(Math.max(length, size), ' ');
    content.write(text);
    await handle.write(content, 0, content.length, 0);
    await handle.truncate(length);
    if (flush) await handle.sync();
  } finally {
    await handle.close();
  }
}

/** @param read Gives undefined when it found none. */
async function untilList(
  file: string,
  read: (isLast: boolean) => Promise<readonly KombuBinding[] | undefined>,
): Promise<readonly KombuBinding[]> {
  for (let left = TRIES; ; left--) {
    const bindings = await read(left === 0);
    if (bindings !== undefined) return bindings;
    if (left === 0) throw new DecodeError(`filesystem: ${file} is no list of bindings`);
    await sleep(PAUSE);
  }
}

/** Undefined: it is no list. */
async function contentOf(handle: FileHandle, file: string): Promise<readonly KombuBinding[] | 'empty' | undefined> {
  const { size } = await handle.stat();
  if (size > MOST_BYTES) throw new DecodeError(`filesystem: ${file} has ${size} bytes`, { code: 'MESSAGE_TOO_LARGE' });
  if (size === 0) return 'empty';
  const buffer = Buffer.alloc(size);
  const { bytesRead } = await handle.read(buffer, 0, size, 0);
  return parse(buffer.toString('utf8', 0, bytesRead));
}

function parse(text: string): readonly KombuBinding[] | undefined {
  let rows: unknown;
  try {
    rows = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!Array.isArray(rows)) return undefined;
  return rows.flatMap((row: unknown) => {
    if (!Array.isArray(row)) return [];
    const [routingKey, pattern, queue] = row as unknown[];
    if (typeof routingKey !== 'string' || typeof queue !== 'string') return [];
    return [{ routingKey, pattern: typeof pattern === 'string' ? pattern : '', queue }];
  });
}
