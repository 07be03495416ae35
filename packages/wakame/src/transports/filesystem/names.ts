/**
 * The names of files. Those of messages are Kombu's (`kombu.transport.filesystem`), and hold all that must be known before a message is read:
 *
 * ```
 *  51234567_0007a120-9f3c-4c1e-8a70-2f6f6f0f9b1d.orders.msg             as Kombu writes it
 *  51234567_0007a120-9f3c-4c1e-8a70-2f6f6f0f9b1d_p5_r1.orders.msg       of priority 5, given back once
 *  └ stamp  └ UUID                               └ marks  └ queue
 * ```
 *
 * Kombu orders messages by these names, and takes what stands behind the first dot for the queue: the marks mean nothing to it.
 */
import { createHash, randomUUID } from 'node:crypto';
import { InvalidArgumentError } from '../../errors.js';
import { show } from '../../util/check.js';

/** Milliseconds of the machine's monotonic clock (Python: `time.monotonic() * 1000`), and what tells those of one millisecond apart. */
export interface Stamp {
  readonly ms: number;
  readonly order: number;
}

/** Stamps of one millisecond, in nanoseconds. */
const MOST_ORDER = 1_000_000;
let last: Stamp = { ms: 0, order: 0 };

function monotonic(): Stamp {
  const [seconds, nanoseconds] = process.hrtime();
  return { ms: seconds * 1000 + Math.floor(nanoseconds / MOST_ORDER), order: nanoseconds % MOST_ORDER };
}

/** Later than all that this process had before. */
export function stampNow(): Stamp {
  const now = monotonic();
  const { ms, order } = last;
  if (now.ms > ms || (now.ms === ms && now.order > order)) last = now;
  else last = order + 1 < MOST_ORDER ? { ms, order: order + 1 } : { ms: ms + 1, order: 0 };
  return last;
}

/** The same, as if it were made at that time of the calendar's clock. */
export function stampAt({ ms, order }: Stamp, time: number): Stamp {
  return { ms: Math.max(0, Math.round(ms + time - Date.now())), order };
}

/** What is told by the marks in a name. */
export interface Marks {
  readonly priority: number;
  /** Clock time in milliseconds. */
  readonly expiresAt: number | undefined;
  /** How often it came back. */
  readonly returns: number;
  /** Bytes of the body, where the queue counts them. */
  readonly bytes: number;
  /** A full queue pushed it out. */
  readonly overflowed: boolean;
}

/** A message by the name of its file. */
export interface MessageName extends Marks {
  readonly file: string;
  readonly queue: string;
  readonly stamp: number;
}

const NO_MARKS: Marks = { priority: 0, expiresAt: undefined, returns: 0, bytes: 0, overflowed: false };

/** The letters of the marks. */
function marksText({ priority, bytes, expiresAt, returns, overflowed }: Marks): string {
  let text = '';
  if (priority > 0) text += `_p${priority}`;
  if (bytes > 0) text += `_b${bytes}`;
  if (expiresAt !== undefined) text += `_e${Math.ceil(expiresAt)}`;
  if (returns > 0) text += `_r${returns}`;
  if (overflowed) text += '_o1';
  return text;
}

export function writeName({ ms, order }: Stamp, queue: string, marks: Partial<Marks>): string {
  // Kombu orders what is of the same millisecond by the UUID.
  const uuid = order.toString(16).padStart(8, '0') + randomUUID().slice(8);
  return `${ms}_${uuid}${marksText({ ...NO_MARKS, ...marks })}.${inFile(queue)}.msg`;
}

/** Undefined for what is no message. */
export function parseName(file: string): MessageName | undefined {
  const dot = file.indexOf('.');
  if (dot <= 0 || !file.endsWith('.msg') || file.length < dot + 5) return undefined;
  const [stamp = '', , ...marks] = file.slice(0, dot).split('_');
  const found = { ...NO_MARKS } as { -readonly [K in keyof Marks]: Marks[K] };
  for (const mark of marks) {
    const value = Number(mark.slice(1));
    if (!Number.isSafeInteger(value)) continue;
    if (mark[0] === 'p') found.priority = value;
    else if (mark[0] === 'b') found.bytes = value;
    else if (mark[0] === 'e') found.expiresAt = value;
    else if (mark[0] === 'r') found.returns = value;
    else if (mark[0] === 'o') found.overflowed = true;
  }
  const ms = Number(stamp);
  return { ...found, file, queue: fromFile(file.slice(dot + 1, -4)), stamp: Number.isFinite(ms) ? ms : 0 };
}

/** The same message with other marks. */
export function remarked(name: MessageName, marks: Partial<Marks>): MessageName {
  const [head = '', rest = ''] = splitAt(name.file, name.file.indexOf('.'));
  const [stamp, uuid = ''] = head.split('_');
  const changed = { ...name, ...marks };
  return { ...changed, file: `${stamp}_${uuid}${marksText(changed)}${rest}` };
}

function splitAt(text: string, at: number): [string, string] {
  return [text.slice(0, at), text.slice(at)];
}

/** A stamp so far ahead is from before the machine was last started, when its clock began anew. */
const AHEAD = 60_000;

/** For sorting: the oldest first. */
export function byAge(): (a: MessageName, b: MessageName) => number {
  const horizon = monotonic().ms + AHEAD;
  return (a, b) => {
    if (a.stamp === b.stamp) return a.file < b.file ? -1 : a.file > b.file ? 1 : 0;
    const [aIsOld, bIsOld] = [a.stamp > horizon, b.stamp > horizon];
    if (aIsOld !== bIsOld) return aIsOld ? -1 : 1;
    return a.stamp - b.stamp;
  };
}

/** One taking of a message: its number among those of the holder (`s`: a sweep's), when, and the name it had. */
export interface HeldName {
  readonly requestId: number | undefined;
  readonly takenAt: number;
  readonly message: MessageName;
}

export function writeHeld(requestId: number | undefined, takenAt: number, file: string): string {
  return `${requestId ?? 's'}-${takenAt}~${file}`;
}

export function parseHeld(text: string): HeldName | undefined {
  const [, request, takenAt, file = ''] = /^(s|-?\d+)-(\d+)~(.*)$/s.exec(text) ?? [];
  const message = parseName(file);
  if (message === undefined) return undefined;
  return { requestId: request === 's' ? undefined : Number(request), takenAt: Number(takenAt), message };
}

/** A message that waits for its time (ms since the epoch). */
export interface LaterName {
  readonly text: string;
  readonly dueAt: number;
  readonly message: MessageName;
}

export function writeLater(dueAt: number, file: string): string {
  return `${String(Math.ceil(dueAt)).padStart(15, '0')}~${file}`;
}

export function parseLater(text: string): LaterName | undefined {
  const [, dueAt, file = ''] = /^(\d+)~(.*)$/s.exec(text) ?? [];
  const message = parseName(file);
  return message === undefined ? undefined : { text, dueAt: Number(dueAt), message };
}

/**
 * The two characters that no file has in its name. In their places stand others that Unicode has set aside for private use, as Cygwin does it; Kombu has no
 * queues with such names.
 */
const FORBIDDEN = /[/\0]/g;
const STAND_INS = /[\uf02f\uf000]/g;

function inFile(queue: string): string {
  return queue.replace(FORBIDDEN, (character) => (character === '/' ? '\uf02f' : '\uf000'));
}

function fromFile(text: string): string {
  if (!text.includes('\uf02f') && !text.includes('\uf000')) return text;
  return text.replace(STAND_INS, (character) => (character === '\uf02f' ? '/' : '\0'));
}

/** Longest name of a queue in bytes: that of a file has 255, and ours put before it when, and by which request, it was taken. */
export const MOST_NAME = 140;

/** Whether a queue may have that name without having been declared. */
export function isQueueName(name: string): boolean {
  return name !== '' && Buffer.byteLength(inFile(name)) <= MOST_NAME && name.search(STAND_INS) < 0;
}

/** Throws INVALID_ARGUMENT for a name that no file can have. */
export function checkQueueName(name: string): void {
  if (Buffer.byteLength(inFile(name)) > MOST_NAME) {
    throw new InvalidArgumentError(
      `names of queues have at most ${MOST_NAME} bytes on the file system, not ${show(name)}`,
    );
  }
  if (name.search(STAND_INS) >= 0) {
    throw new InvalidArgumentError(`U+F000 and U+F02F stand for other characters in the names of files: ${show(name)}`);
  }
}

/** The file in which something of that name is described. */
export function recordFile(name: string): string {
  if (/^[\w@+-][\w.@+-]{0,99}$/.test(name)) return `${name}.json`;
  return `%${createHash('sha256').update(name).digest('hex').slice(0, 40)}.json`;
}

/** Kombu's file for the bindings of an exchange; undefined for a name that Kombu refuses. */
export function bindingsFile(exchange: string): string | undefined {
  return /^[A-Za-z0-9._-]{1,200}$/.test(exchange) && /[^.]/.test(exchange) ? `${exchange}.exchange` : undefined;
}
