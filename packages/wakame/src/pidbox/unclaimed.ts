import type { Reply } from './wire.js';

/** Beyond these, the oldest give way. */
const MOST_REPLIES = 1_000;
const MOST_BYTES = 1024 * 1024;

interface Held {
  readonly replies: Reply[];
  bytes: number;
}

/**
 * Replies that came when nobody waited for them any more: after the timeout of their call, or beyond its limit. At most 1000, or 1 MiB, are
 * kept; the oldest calls give way.
 */
export class UnclaimedReplies implements Iterable<readonly [ticket: string, replies: readonly Reply[]]> {
  readonly #held = new Map<string, Held>();
  #size = 0;
  #bytes = 0;

  /** How many replies there are. */
  get size(): number {
    return this.#size;
  }

  /** Removes the replies to one call and returns them, in the order of their arrival. */
  take(ticket: string): readonly Reply[] {
    const held = this.#held.get(ticket);
    if (held === undefined) return [];
    this.#held.delete(ticket);
    this.#size -= held.replies.length;
    this.#bytes -= held.bytes;
    return held.replies;
  }

  /** Forgets all. */
  clear(): void {
    this.#held.clear();
    this.#size = 0;
    this.#bytes = 0;
  }

  /** For the mailbox: keeps a reply whose body had so many bytes. */
  add(ticket: string, reply: Reply, bodyBytes: number): void {
    // The rest is what the objects themselves take.
    const bytes = bodyBytes + 2 * ticket.length + 200;
    const held = this.#held.get(ticket) ?? { replies: [], bytes: 0 };
    this.#held.set(ticket, held);
    held.replies.push(reply);
    held.bytes += bytes;
    this.#size += 1;
    this.#bytes += bytes;
    for (const oldest of this.#held.keys()) {
      if (this.#size <= MOST_REPLIES && this.#bytes <= MOST_BYTES) return;
      this.take(oldest);
    }
  }

  /** The replies, oldest first. */
  *[Symbol.iterator](): Iterator<readonly [ticket: string, replies: readonly Reply[]]> {
    for (const [ticket, { replies }] of this.#held) yield [ticket, replies];
  }
}
