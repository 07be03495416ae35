import { randomBytes } from 'node:crypto';

/** Tells the consumers of this process from those of others, where tags are seen by people or shared by a store. */
const PROCESS = `wakame-${process.pid}-${randomBytes(4).toString('hex')}-`;
let last = 0;

/** A consumer tag that the process has not used before: the prefix, and a number (as Kombu's `tag_prefix`). */
export function newConsumerTag(prefix: string = PROCESS): string {
  return `${prefix}${++last}`;
}
