/**
 * What is done with files, and what their errors mean. Names are changed, and small files read and written, within the call: that takes some microseconds, as the
 * system has them in memory, while a turn by Node's threads takes far longer. What waits for the disk, or is large, does not block.
 */
import { randomUUID } from 'node:crypto';
import {
  type BigIntStats,
  readdirSync,
  readFileSync,
  renameSync,
  type Stats,
  statSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { copyFile, open, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export function codeOf(error: unknown): string | undefined {
  const { code } = (error ?? {}) as { readonly code?: unknown };
  return typeof code === 'string' ? code : undefined;
}

/** What the action gives, or undefined when the file is not there. */
export function unlessMissing<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function found(action: () => void): boolean {
  const done = () => {
    action();
    return true;
  };
  return unlessMissing(done) ?? false;
}

/** Renames it. Whether it was there. */
export function moved(from: string, to: string): boolean {
  return found(() => renameSync(from, to));
}

/** To a folder that may be on another disk. */
export async function movedFar(from: string, to: string): Promise<boolean> {
  try {
    return moved(from, to);
  } catch (error) {
    if (codeOf(error) !== 'EXDEV') throw error;
  }
  try {
    await copyFile(from, to);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
  return removed(from);
}

/** Whether it was there. */
export function removed(file: string): boolean {
  return found(() => unlinkSync(file));
}

/** Sets its time to now. Whether it was there. */
export function touched(file: string): boolean {
  const now = Date.now() / 1000;
  return found(() => utimesSync(file, now, now));
}

/** Of a folder with few files. */
export function namesIn(folder: string): readonly string[] {
  return unlessMissing(() => readdirSync(folder)) ?? [];
}

export function textOf(file: string): string | undefined {
  return unlessMissing(() => readFileSync(file, 'utf8'));
}

export function statOf(file: string): Stats | undefined {
  return statSync(file, { throwIfNoEntry: false });
}

/** Tells one state of a file from another. */
export function stateOf(file: string): string | undefined {
  const found: BigIntStats | undefined = statSync(file, { bigint: true, throwIfNoEntry: false });
  return found === undefined ? undefined : `${found.ino}.${found.size}.${found.mtimeNs}.${found.ctimeNs}`;
}

/** A file of more characters is written by Node's threads. */
const LARGE = 64 * 1024;

/** @param flush Resolves when the disk has it. */
export async function write(file: string, content: string, flush: boolean): Promise<void> {
  if (flush || content.length > LARGE) await writeFile(file, content, { flush });
  else writeFileSync(file, content);
}

/** The whole content at once, or none of it: a file beside it takes its place. */
export async function replace(file: string, temporary: string, content: string, flush: boolean): Promise<void> {
  const draft = join(temporary, randomUUID());
  try {
    await write(draft, content, flush);
    await rename(draft, file);
  } catch (error) {
    removed(draft);
    throw error;
  }
}

/** Has the disk know which names are in a folder. */
export async function flushFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
