/** As many as oslo.messaging remembers. */
const REMEMBERED = 16;

/** Tells messages that were seen a moment ago, by their `_unique_id`: those that a sender sent again because nobody had confirmed them. */
export class DuplicateFilter {
  readonly #seen: string[] = [];

  /** Whether the id is among the last 16; it is from now on. */
  isDuplicate(id: string | undefined): boolean {
    if (id === undefined) return false;
    if (this.#seen.includes(id)) return true;
    if (this.#seen.push(id) > REMEMBERED) this.#seen.shift();
    return false;
  }

  /** When it comes again, it is no duplicate. */
  forget(id: string | undefined): void {
    const at = id === undefined ? -1 : this.#seen.indexOf(id);
    if (at >= 0) this.#seen.splice(at, 1);
  }
}
