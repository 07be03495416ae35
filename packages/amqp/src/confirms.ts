const INITIAL_SLOTS = 64;

/**
 * The publishes that wait for the broker's confirm, by delivery tag: 1 for the first publish after confirm.select, then
 * one more each. A ring whose size is a power of two, so that finding a tag is one `&`:
 *
 * ```
 *              first                next
 *                ▼                    ▼
 *   slots  … │ a │ b │   │ d │ e │ f │   │ …       slot of a tag = tag & mask; c was confirmed out of turn
 * ```
 */
export class ConfirmRing<Entry> {
  #slots: (Entry | undefined)[] = new Array<Entry | undefined>(INITIAL_SLOTS).fill(undefined);
  #mask = INITIAL_SLOTS - 1;
  /** The lowest tag that may still wait. */
  #first = 1;
  #next = 1;
  #size = 0;

  /** How many wait. */
  get size(): number {
    return this.#size;
  }

  /** The tag that the next publish will have. */
  get nextTag(): number {
    return this.#next;
  }

  /** Adds the entry of the message just sent; returns its tag. */
  push(entry: Entry): number {
    if (this.#next - this.#first > this.#mask) this.#grow();
    const tag = this.#next;
    this.#next += 1;
    this.#slots[tag & this.#mask] = entry;
    this.#size += 1;
    return tag;
  }

  #grow(): void {
    const slots = new Array<Entry | undefined>(this.#slots.length * 2).fill(undefined);
    const mask = slots.length - 1;
    for (let tag = this.#first; tag < this.#next; tag += 1) slots[tag & mask] = this.#slots[tag & this.#mask];
    this.#slots = slots;
    this.#mask = mask;
  }

  /**
   * Takes out what a basic.ack or basic.nack covers and hands each entry over, in order of publishing. A tag that was
   * settled before is covered again without effect. With `multiple`, tag 0 means all (0-9-1 section 1.8.3.13).
   *
   * @returns false when no message with this tag was ever published
   */
  settle(tag: number, multiple: boolean, visit: (entry: Entry) => void): boolean {
    if (tag >= this.#next || (tag === 0 && !multiple)) return false;
    if (multiple) {
      const last = tag === 0 ? this.#next - 1 : tag;
      while (this.#first <= last) this.#take(this.#first++, visit);
    } else if (tag >= this.#first) {
      this.#take(tag, visit);
    }
    while (this.#first < this.#next && this.#slots[this.#first & this.#mask] === undefined) this.#first += 1;
    return true;
  }

  #take(tag: number, visit: (entry: Entry) => void): void {
    const slot = tag & this.#mask;
    const entry = this.#slots[slot];
    if (entry === undefined) return;
    this.#slots[slot] = undefined;
    this.#size -= 1;
    visit(entry);
  }

  /** The tag of the oldest entry, from `from` on, that satisfies `test`. */
  find(test: (entry: Entry) => boolean, from = 0): number | undefined {
    for (let tag = Math.max(this.#first, from); tag < this.#next; tag += 1) {
      const entry = this.#slots[tag & this.#mask];
      if (entry !== undefined && test(entry)) return tag;
    }
    return undefined;
  }

  /** The entry of a tag that waits. */
  get(tag: number): Entry | undefined {
    return tag < this.#first || tag >= this.#next ? undefined : this.#slots[tag & this.#mask];
  }
}
