import type { Message } from 'wakame';

/** Fewer than a {@link DuplicateFilter} remembers: what comes again after a loss of the connection is still known. */
const MOST = 8;
/** Milliseconds that an answer may wait for its ack. */
const LONGEST = 20;

/**
 * Acknowledges several answers at once, and a moment later: the caller who got his may have the next request out first, and neither the broker nor this
 * process is woken for each. An answer that comes again, because the connection was lost before its ack, is known by its `_unique_id`.
 */
export class GatheredAcks {
  #waiting: Message[] = [];
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;

  add(message: Message): void {
    this.#waiting.push(message);
    if (this.#isOver || this.#waiting.length >= MOST) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), LONGEST).unref();
  }

  /** What comes from now on is acknowledged at once. */
  end(): void {
    this.#isOver = true;
    this.#flush();
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const messages = this.#waiting;
    this.#waiting = [];
    for (const message of messages) void message.ack();
  }
}
