import { randomUUID } from 'node:crypto';
import { closeSync, fstatSync, mkdirSync, openSync, readFileSync, renameSync, rmdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DecodeError } from '../../errors.js';
import type { Outbound, Outcome, StoredMessage, Taken } from '../virtual/driver.js';
import { decodeEnvelope, encodeEnvelope } from '../virtual/wire/index.js';
import {
  codeOf,
  flushFolder,
  moved,
  movedFar,
  namesIn,
  removed,
  statOf,
  touched,
  unlessMissing,
  write,
} from './files.js';
import type { Layout } from './layout.js';
import type { Listing } from './listing.js';
import {
  type MessageName,
  parseHeld,
  parseLater,
  parseName,
  remarked,
  type Stamp,
  stampAt,
  writeHeld,
  writeLater,
  writeName,
} from './names.js';
import type { FilesystemOptions } from './options.js';
import { inParallel, inTurn } from './parallel.js';

/** A file that is no envelope may still be being written by Python, which does not write beside and rename: milliseconds. */
const BEING_WRITTEN = 2000;
const PAUSE = 10;
/** Bytes of a file. A body of 128 MiB in base64, with headers. */
const MOST_BYTES = 192 * 1024 * 1024;
/** Files of more bytes are read by Node's threads. */
const LARGE = 256 * 1024;
/** What was being written for so long (milliseconds) was left behind. */
const LEFT_BEHIND = 3_600_000;

/** Of what waits for its time, what others add is seen after so many milliseconds at the most, or so many times as long as it takes to look. */
const LOOK_INTERVAL = 100;
const LOOK_SHARE = 20;

/** One taking of one message. */
export class FileLease {
  readonly holder: string;
  readonly path: string;
  readonly name: MessageName;

  constructor(holder: string, path: string, name: MessageName) {
    this.holder = holder;
    this.path = path;
    this.name = name;
  }
}

/** What the queue of a message asks for. */
export interface SendRules {
  readonly messageTtl: number | undefined;
  readonly countsBytes: boolean;
}

/** A message written, and not yet where anybody looks. */
export interface Draft {
  readonly temp: string;
  readonly name: MessageName;
  /** Clock time; undefined: now. */
  readonly dueAt: number | undefined;
}

export interface MessagesOptions {
  readonly layout: Layout;
  readonly options: FilesystemOptions;
  readonly holder: string;
  readonly listing: Listing;
  /** A queue may have something to take. */
  readonly changed: (queue: string) => void;
  /** Told of a file that is no message. */
  readonly problem: (error: unknown) => void;
}

/** The files that messages are. Each of them is in one place at any instant; whatever becomes of it is one renaming or one deletion. */
export class Messages {
  readonly #layout: Layout;
  readonly #options: FilesystemOptions;
  readonly #holder: string;
  readonly #listing: Listing;
  readonly #changed: (queue: string) => void;
  readonly #problem: (error: unknown) => void;
  /** Of this holder. */
  readonly #heldFolder: string;
  /** When those that wait for their time are to be looked at again, and when the first of them is due. */
  #nextLook = 0;
  #nextDue: number | undefined;

  constructor({ layout, options, holder, listing, changed, problem }: MessagesOptions) {
    this.#layout = layout;
    this.#options = options;
    this.#holder = holder;
    this.#listing = listing;
    this.#changed = changed;
    this.#problem = problem;
    this.#heldFolder = join(layout.source.held, holder);
  }

  open(): void {
    mkdirSync(this.#heldFolder, { recursive: true });
  }

  // Writing ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** What they will be. Throws ENCODE_FAILED. */
  encode(
    messages: readonly Outbound[],
    stamps: readonly Stamp[],
    rulesOf: (queue: string) => SendRules,
  ): readonly { readonly draft: Draft; readonly text: string }[] {
    const now = Date.now();
    return messages.map(({ queue, message, expiresAt, notBefore }, i) => {
      const { messageTtl, countsBytes } = rulesOf(queue);
      const dueAt = notBefore !== undefined && notBefore > now ? notBefore : undefined;
      const end = Math.min(
        expiresAt ?? Number.POSITIVE_INFINITY,
        (dueAt ?? now) + (messageTtl ?? Number.POSITIVE_INFINITY),
      );
      const envelope = { ...message, deliveryTag: randomUUID(), redelivered: false };
      const text = encodeEnvelope(envelope, { bodyEncoding: this.#options.bodyEncoding });
      const stamp = stamps[i] as Stamp;
      const file = writeName(dueAt === undefined ? stamp : stampAt(stamp, dueAt), queue, {
        priority: message.properties.priority ?? 0,
        expiresAt: end === Number.POSITIVE_INFINITY ? undefined : end,
        bytes: countsBytes ? message.body.length : 0,
      });
      const draft = { temp: join(this.#layout.target.temp, randomUUID()), name: parseName(file) as MessageName, dueAt };
      return { draft, text };
    });
  }

  async write(messages: readonly { readonly draft: Draft; readonly text: string }[]): Promise<void> {
    await inParallel(messages, ({ draft, text }) => write(draft.temp, text, this.#options.fsync));
  }

  /** Puts them where they are to be taken from, one after the other. */
  async publish(drafts: readonly Draft[]): Promise<void> {
    const { target, source } = this.#layout;
    const folders = new Set<string>();
    await inTurn(drafts, ({ temp, name, dueAt }) => {
      const folder = dueAt === undefined ? target.ready : target.later;
      renameSync(temp, join(folder, dueAt === undefined ? name.file : writeLater(dueAt, name.file)));
      folders.add(folder);
      if (dueAt !== undefined) this.#nextDue = Math.min(dueAt, this.#nextDue ?? dueAt);
      if (dueAt !== undefined || target.ready !== source.ready) return;
      this.#listing.add(name);
      this.#changed(name.queue);
    });
    if (this.#options.fsync) for (const folder of folders) await flushFolder(folder);
  }

  /** They were written in vain. */
  async discard(drafts: readonly Draft[]): Promise<void> {
    await inParallel(drafts, ({ temp }) => removed(temp));
  }

  /** Takes back what was published a moment ago. */
  retract({ name, dueAt }: Draft): void {
    const { ready, later } = this.#layout.target;
    removed(dueAt === undefined ? join(ready, name.file) : join(later, writeLater(dueAt, name.file)));
    this.#listing.drop(name.queue, new Set([name]));
  }

  // Taking ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Takes a message out of a folder; undefined when somebody else was quicker.
   *
   * @param requestId Undefined: a sweep's.
   */
  async hold(folder: string, name: MessageName, requestId: number | undefined): Promise<Taken | undefined> {
    const from = join(folder, name.file);
    const path = join(this.#heldFolder, writeHeld(requestId, Date.now(), name.file));
    if (!moved(from, path)) {
      // It may be our folder that is not there: a sweep took it away while we gave no sign of life.
      if (statOf(from) === undefined) return undefined;
      mkdirSync(this.#heldFolder, { recursive: true });
      if (!moved(from, path)) return undefined;
    }
    return this.#taken(path, name);
  }

  /** Takes it for good. */
  async consume(folder: string, name: MessageName, requestId: number): Promise<Taken | undefined> {
    const taken = await this.hold(folder, name, requestId);
    if (taken === undefined) return undefined;
    await this.#finish(taken.lease as FileLease);
    return { ...taken, lease: undefined };
  }

  /** What an earlier take of this number took and was not settled since. */
  async before(requestId: number): Promise<readonly Taken[]> {
    const held = namesIn(this.#heldFolder).flatMap((text) => {
      const parsed = parseHeld(text);
      return parsed?.requestId === requestId ? [{ text, name: parsed.message }] : [];
    });
    held.sort((a, b) => a.name.stamp - b.name.stamp || (a.name.file < b.name.file ? -1 : 1));
    const taken = await inParallel(held, ({ text, name }) => this.#taken(join(this.#heldFolder, text), name));
    return taken.filter((one) => one !== undefined);
  }

  async peek(names: readonly MessageName[]): Promise<readonly StoredMessage[]> {
    const messages = await inParallel(names, async (name) => {
      const content = await readBounded(join(this.#layout.source.ready, name.file));
      return content === undefined ? undefined : (decode(content)?.message ?? raw(name.queue, content));
    });
    return messages.filter((message) => message !== undefined);
  }

  async #taken(path: string, name: MessageName): Promise<Taken | undefined> {
    const { queue, returns } = name;
    const lease = new FileLease(this.#holder, path, name);
    for (;;) {
      let content: Buffer | undefined;
      try {
        content = await readBounded(path);
      } catch (error) {
        if (codeOf(error) !== 'MESSAGE_TOO_LARGE') throw error;
        this.#problem(error);
        const folder = join(this.#layout.source.ready, '.wakame', 'damaged');
        mkdirSync(folder, { recursive: true });
        moved(path, join(folder, name.file));
        return undefined;
      }
      if (content === undefined) return undefined;
      const decoded = decode(content);
      if (decoded !== undefined) {
        const { message, redelivered } = decoded;
        return { queue, message, lease, redelivered: redelivered || returns > 0, deliveryCount: returns };
      }
      const written = statOf(path)?.mtimeMs ?? 0;
      if (Math.abs(Date.now() - written) < BEING_WRITTEN) {
        await sleep(PAUSE);
        continue;
      }
      this.#problem(new DecodeError(`filesystem: ${name.file} is no envelope of Kombu's; it is delivered as it is`));
      return { queue, message: raw(queue, content), lease, redelivered: returns > 0, deliveryCount: returns };
    }
  }

  // Settling ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** For each: whether the lease was still ours. */
  settle(
    settlements: readonly { readonly lease: FileLease; readonly outcome: Outcome }[],
  ): Promise<readonly boolean[]> {
    return inParallel(settlements, ({ lease, outcome }) => {
      if (lease.holder !== this.#holder) return false;
      if (outcome === 'ack' || outcome === 'reject') return this.#finish(lease);
      return this.#giveBack(lease.path, lease.name, outcome !== 'release');
    });
  }

  /** Renews leases: the time of the file. For each: whether it was still ours. */
  async extend(leases: readonly FileLease[]): Promise<readonly boolean[]> {
    return inParallel(leases, ({ holder, path }) => holder === this.#holder && touched(path));
  }

  /** Gives back all that this holder holds. */
  returnAll(): void {
    for (const text of namesIn(this.#heldFolder)) {
      const held = parseHeld(text);
      if (held !== undefined) this.#giveBack(join(this.#heldFolder, text), held.message, true);
    }
    removeFolder(this.#heldFolder);
  }

  /** Away, or to where what is done is kept. Whether it was still there. */
  #finish({ path, name }: FileLease): Promise<boolean> | boolean {
    const { processed } = this.#options;
    return processed === undefined ? removed(path) : movedFar(path, join(processed, name.file));
  }

  /** To its place. Whether it was still there. */
  #giveBack(path: string, name: MessageName, counted: boolean): boolean {
    const { ready, over } = this.#layout.source;
    const back = counted ? remarked(name, { returns: name.returns + 1 }) : name;
    if (!moved(path, join(back.overflowed ? over : ready, back.file))) return false;
    if (back.overflowed) return true;
    this.#listing.add(back);
    this.#changed(back.queue);
    return true;
  }

  // What nobody's call does ────────────────────────────────────────────────────────────────────────────────────────

  /** Moves those whose time has come to their queues. Gives the time of the next one. */
  promote(): number | undefined {
    const now = Date.now();
    const begun = performance.now();
    if (begun < this.#nextLook && (this.#nextDue === undefined || this.#nextDue > now)) return this.#nextDue;
    const { later, ready } = this.#layout.source;
    let next: number | undefined;
    for (const text of [...namesIn(later)].sort()) {
      const waiting = parseLater(text);
      if (waiting === undefined) continue;
      if (waiting.dueAt > now) {
        next = waiting.dueAt;
        break;
      }
      if (!moved(join(later, text), join(ready, waiting.message.file))) continue;
      this.#listing.add(waiting.message);
      this.#changed(waiting.message.queue);
    }
    const end = performance.now();
    this.#nextLook = end + Math.max(LOOK_INTERVAL, LOOK_SHARE * (end - begun));
    this.#nextDue = next;
    return next;
  }

  /** Gives back what was not renewed in time, whosever it was. Gives the number. */
  returnLapsed(limit: number): number {
    const { held } = this.#layout.source;
    const { lease } = this.#options;
    let returned = 0;
    for (const holder of namesIn(held)) {
      const folder = join(held, holder);
      const texts = namesIn(folder);
      for (const text of texts) {
        const one = parseHeld(text);
        if (one === undefined || Date.now() - one.takenAt < lease) continue;
        const renewedAt = statOf(join(folder, text))?.mtimeMs;
        if (renewedAt === undefined || Date.now() - renewedAt < lease) continue;
        if (this.#giveBack(join(folder, text), one.message, true)) returned++;
        if (returned >= limit) return returned;
      }
      if (texts.length === 0) this.#tidy(folder);
    }
    return returned;
  }

  /** Takes what full queues pushed out. */
  async takeOverflowed(limit: number): Promise<readonly Taken[]> {
    const { over } = this.#layout.source;
    const names = namesIn(over).flatMap((file) => parseName(file) ?? []);
    names.sort((a, b) => a.stamp - b.stamp || (a.file < b.file ? -1 : 1));
    const taken = await inParallel(names.slice(0, limit), (name) => this.hold(over, name, undefined));
    return taken.filter((one) => one !== undefined);
  }

  /** Pushes a message out of its queue. */
  pushOut(name: MessageName, isKept: boolean): void {
    const { ready, over } = this.#layout.source;
    if (isKept) moved(join(ready, name.file), join(over, remarked(name, { overflowed: true }).file));
    else removed(join(ready, name.file));
    this.#listing.drop(name.queue, new Set([name]));
  }

  /** Deletes messages that are ready. Gives how many were still there. */
  async delete(names: readonly MessageName[]): Promise<number> {
    for (const queue of new Set(names.map((name) => name.queue))) this.#listing.drop(queue, new Set(names));
    const gone = await inParallel(names, (name) => removed(join(this.#layout.source.ready, name.file)));
    return gone.filter(Boolean).length;
  }

  /** Deletes what waits for its time. Gives how many. */
  async deleteLater(queue: string): Promise<number> {
    const { later } = this.#layout.source;
    const waiting = namesIn(later).filter((text) => parseLater(text)?.message.queue === queue);
    const gone = await inParallel(waiting, (text) => removed(join(later, text)));
    return gone.filter(Boolean).length;
  }

  /** Deletes what anybody holds of a queue, and what it pushed out. */
  async deleteHeld(queue: string): Promise<void> {
    const { held, over } = this.#layout.source;
    const files = namesIn(over)
      .filter((file) => parseName(file)?.queue === queue)
      .map((file) => join(over, file));
    for (const holder of namesIn(held)) {
      const texts = namesIn(join(held, holder));
      const ofQueue = texts.filter((text) => parseHeld(text)?.message.queue === queue);
      files.push(...ofQueue.map((text) => join(held, holder, text)));
    }
    await inParallel(files, removed);
  }

  /** Removes what writers left behind. */
  tidyTemp(): void {
    const { target, source, temp } = this.#layout;
    for (const folder of new Set([target.temp, source.temp, temp])) {
      for (const name of namesIn(folder)) {
        const found = statOf(join(folder, name));
        if (found !== undefined && Date.now() - found.mtimeMs > LEFT_BEHIND) removed(join(folder, name));
      }
    }
  }

  /** The empty folder of a holder that has not been heard of for long. */
  #tidy(folder: string): void {
    const found = statOf(folder);
    if (found === undefined || Date.now() - found.mtimeMs < 2 * this.#options.lease) return;
    removeFolder(folder);
  }
}

/** Undefined when it is not there. Rejects with MESSAGE_TOO_LARGE. */
async function readBounded(path: string): Promise<Buffer | undefined> {
  const descriptor = unlessMissing(() => openSync(path, 'r'));
  if (descriptor === undefined) return undefined;
  try {
    const { size } = fstatSync(descriptor);
    if (size <= LARGE) return readFileSync(descriptor);
    if (size <= MOST_BYTES) return await readFile(path);
    const text = `filesystem: ${path} has ${size} bytes, too many for a message`;
    throw new DecodeError(text, { code: 'MESSAGE_TOO_LARGE' });
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  } finally {
    closeSync(descriptor);
  }
}

function removeFolder(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // Somebody put something into it, or took it away.
  }
}

function decode(content: Uint8Array): { readonly message: StoredMessage; readonly redelivered: boolean } | undefined {
  try {
    const { deliveryTag: _, redelivered, extraDeliveryInfo: __, ...message } = decodeEnvelope(content);
    return { message, redelivered };
  } catch {
    return undefined;
  }
}

function raw(queue: string, content: Uint8Array): StoredMessage {
  return { body: content, properties: { headers: {} }, exchange: '', routingKey: queue };
}
