import { readdir } from 'node:fs/promises';
import { byAge, type MessageName, parseName } from './names.js';

/** A listing is believed for so many times as long as it took to make: a large folder is not read for every message. */
const BELIEVED = 5;

/** The listings of each folder in this process, for they tell each other of what is put there. */
const byFolder = new Map<string, Set<Listing>>();

/**
 * The messages of a folder by their queues, the oldest first. What other processes do there meanwhile is not seen: who takes finds out by trying, and who
 * finds nothing reads again.
 */
export class Listing {
  readonly #folder: string;
  #queues = new Map<string, MessageName[]>();
  /** The same by their files. */
  #known = new Map<string, MessageName>();
  #until = 0;
  /** Another one of this process put something there. */
  #hasMore = false;

  constructor(folder: string) {
    this.#folder = folder;
    const others = byFolder.get(folder);
    if (others === undefined) byFolder.set(folder, new Set([this]));
    else others.add(this);
  }

  /** Nobody uses it any more. */
  close(): void {
    const others = byFolder.get(this.#folder);
    others?.delete(this);
    if (others?.size === 0) byFolder.delete(this.#folder);
  }

  /** Reads the folder unless what was read is good enough for taking: what is gone is found out then. */
  async refreshIfOld(): Promise<void> {
    if (this.#hasMore || performance.now() > this.#until) await this.refresh();
  }

  async refresh(): Promise<void> {
    const begun = performance.now();
    this.#hasMore = false;
    const queues = new Map<string, MessageName[]>();
    const known = new Map<string, MessageName>();
    for (const file of await readdir(this.#folder)) {
      const name = this.#known.get(file) ?? parseName(file);
      if (name === undefined) continue;
      known.set(file, name);
      const names = queues.get(name.queue);
      if (names === undefined) queues.set(name.queue, [name]);
      else names.push(name);
    }
    const order = byAge();
    for (const names of queues.values()) names.sort(order);
    this.#queues = queues;
    this.#known = known;
    const now = performance.now();
    this.#until = now + BELIEVED * (now - begun);
  }

  get queues(): Iterable<string> {
    return this.#queues.keys();
  }

  of(queue: string): readonly MessageName[] {
    return this.#queues.get(queue) ?? [];
  }

  /** It was put there: in its place. */
  add(name: MessageName): void {
    for (const other of byFolder.get(this.#folder) ?? []) if (other !== this) other.#hasMore = true;
    const names = this.#queues.get(name.queue);
    if (names === undefined) {
      this.#queues.set(name.queue, [name]);
      return;
    }
    const order = byAge();
    let at = names.length;
    while (at > 0 && order(names[at - 1] as MessageName, name) > 0) at--;
    names.splice(at, 0, name);
  }

  /** They were taken away. */
  drop(queue: string, gone: ReadonlySet<MessageName>): void {
    if (gone.size === 0) return;
    const left = this.of(queue).filter((name) => !gone.has(name));
    if (left.length === 0) this.#queues.delete(queue);
    else this.#queues.set(queue, left);
  }
}
