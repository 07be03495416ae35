import { readdir } from 'node:fs/promises';
import { byAge, type MessageName, parseName } from './names.js';

/** A listing is believed for so many times as long as it took to make: a large folder is not read for every message. */
const BELIEVED = 5;

/** The messages of a folder by their queues, the oldest first. What others do there meanwhile is found out by trying. */
export class Listing {
  readonly #folder: string;
  #queues = new Map<string, MessageName[]>();
  #until = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Whether it is worth nothing any more. */
  get isOld(): boolean {
    return performance.now() > this.#until;
  }

  async refresh(): Promise<void> {
    const begun = performance.now();
    const queues = new Map<string, MessageName[]>();
    for (const file of await readdir(this.#folder)) {
      const name = parseName(file);
      if (name === undefined) continue;
      const names = queues.get(name.queue);
      if (names === undefined) queues.set(name.queue, [name]);
      else names.push(name);
    }
    const order = byAge();
    for (const names of queues.values()) names.sort(order);
    this.#queues = queues;
    const now = performance.now();
    this.#until = now + BELIEVED * (now - begun);
  }

  get queues(): Iterable<string> {
    return this.#queues.keys();
  }

  of(queue: string): readonly MessageName[] {
    return this.#queues.get(queue) ?? [];
  }

  /** In its place. */
  add(name: MessageName): void {
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

  drop(queue: string, gone: ReadonlySet<MessageName>): void {
    if (gone.size === 0) return;
    const left = this.of(queue).filter((name) => !gone.has(name));
    if (left.length === 0) this.#queues.delete(queue);
    else this.#queues.set(queue, left);
  }
}
