/**
 * A first-in-first-out queue in a ring that doubles when full, so that both ends cost the same however long it is
 * (`Array#shift` moves everything).
 *
 * ```
 *   [ .  .  c  d  e  .  .  . ]
 *           head     tail            capacity is a power of two; index & mask
 * ```
 */
export class FifoQueue<T> {
  #ring: (T | undefined)[];
  #mask: number;
  #head = 0;
  #size = 0;

  constructor() {
    this.#ring = new Array(16);
    this.#mask = 15;
  }

  get size(): number {
    return this.#size;
  }

  /** Adds at the end. */
  push(item: T): void {
    if (this.#size > this.#mask) this.#grow();
    this.#ring[(this.#head + this.#size) & this.#mask] = item;
    this.#size++;
  }

  /** Puts back before the first. */
  unshift(item: T): void {
    if (this.#size > this.#mask) this.#grow();
    this.#head = (this.#head - 1) & this.#mask;
    this.#ring[this.#head] = item;
    this.#size++;
  }

  /** Takes the first; `undefined` when empty. */
  shift(): T | undefined {
    if (this.#size === 0) return undefined;
    const item = this.#ring[this.#head];
    this.#ring[this.#head] = undefined;
    this.#head = (this.#head + 1) & this.#mask;
    this.#size--;
    return item;
  }

  /** The first, left in place; `undefined` when empty. */
  peek(): T | undefined {
    return this.#size === 0 ? undefined : this.#ring[this.#head];
  }

  /** Empties the queue and returns what was in it, first to last. */
  drain(): T[] {
    const items = [...this];
    this.#ring = new Array(16);
    this.#mask = 15;
    this.#head = 0;
    this.#size = 0;
    return items;
  }

  /** First to last, without taking. */
  *[Symbol.iterator](): Generator<T, undefined> {
    for (let i = 0; i < this.#size; i++) yield this.#ring[(this.#head + i) & this.#mask] as T;
  }

  #grow(): void {
    const capacity = this.#ring.length;
    const ring = new Array<T | undefined>(capacity * 2);
    for (let i = 0; i < this.#size; i++) ring[i] = this.#ring[(this.#head + i) & this.#mask];
    this.#ring = ring;
    this.#mask = capacity * 2 - 1;
    this.#head = 0;
  }
}
