import type { Taken, TakeOptions } from '../virtual/driver.js';
import type { Listing } from './listing.js';
import type { Messages } from './messages.js';
import type { MessageName } from './names.js';
import { inParallel } from './parallel.js';

/** One queue's part of a take. */
export interface Share {
  readonly queue: string;
  readonly noAck: boolean;
  readonly maxPriority: number;
  /** What has expired has somewhere to go. */
  readonly deadLetter: boolean;
  left: number;
}

interface Pick {
  readonly share: Share;
  readonly name: MessageName;
}

export interface TakingOptions {
  readonly ready: string;
  readonly listing: Listing;
  readonly messages: Messages;
  /** Something has expired that is to be dead-lettered. */
  readonly due: () => void;
}

/** Chooses which messages to take, and takes them: by renaming, in which one taker succeeds and the others look further. */
export class Taking {
  readonly #options: TakingOptions;

  constructor(options: TakingOptions) {
    this.#options = options;
  }

  async take(shares: readonly Share[], { requestId, limit, order }: TakeOptions): Promise<readonly Taken[]> {
    const { listing, messages, ready } = this.#options;
    const taken: Taken[] = [];
    let isFresh = false;
    const look = async () => {
      await listing.refresh();
      isFresh = true;
    };
    await listing.refreshIfOld();
    while (taken.length < limit && shares.some(({ left }) => left > 0)) {
      const { picks, lapsed } = this.#pick(shares, limit - taken.length, order);
      await messages.delete(lapsed);
      if (picks.length === 0) {
        if (isFresh) break;
        await look();
        continue;
      }
      for (const share of shares) {
        listing.drop(share.queue, new Set(picks.filter((pick) => pick.share === share).map(({ name }) => name)));
      }
      const held = await inParallel(picks, ({ share, name }) =>
        share.noAck ? messages.consume(ready, name, requestId) : messages.hold(ready, name, requestId),
      );
      held.forEach((one, i) => {
        if (one === undefined) return;
        (picks[i] as Pick).share.left--;
        taken.push(one);
      });
    }
    return taken;
  }

  #pick(
    shares: readonly Share[],
    limit: number,
    order: TakeOptions['order'],
  ): { readonly picks: readonly Pick[]; readonly lapsed: readonly MessageName[] } {
    const picks: Pick[] = [];
    const lapsed: MessageName[] = [];
    const open = shares.map((share) => ({ share, names: this.#candidates(share, lapsed), left: share.left }));
    while (open.length > 0 && picks.length < limit) {
      for (const one of order === 'fair' ? [...open] : open.slice(0, 1)) {
        if (picks.length >= limit) break;
        const next = one.left > 0 ? one.names.next() : { done: true as const, value: undefined };
        if (next.done === true) {
          open.splice(open.indexOf(one), 1);
          continue;
        }
        one.left--;
        picks.push({ share: one.share, name: next.value });
      }
    }
    return { picks, lapsed };
  }

  /** In the order in which they are served, without those that have expired. */
  *#candidates({ queue, maxPriority, deadLetter }: Share, lapsed: MessageName[]): Generator<MessageName, undefined> {
    for (const name of inServingOrder(this.#options.listing.of(queue), maxPriority)) {
      if (!hasExpired(name)) yield name;
      else if (deadLetter) this.#options.due();
      else lapsed.push(name);
    }
  }
}

export function inServingOrder(names: readonly MessageName[], maxPriority: number): readonly MessageName[] {
  if (maxPriority <= 0) return names;
  const of = ({ priority }: MessageName) => Math.min(priority, maxPriority);
  return [...names].sort((a, b) => of(b) - of(a));
}

export function hasExpired({ expiresAt }: MessageName): boolean {
  return expiresAt !== undefined && expiresAt <= Date.now();
}
