import type { Taken, TakeRequest } from '../virtual/driver.js';
import { copyMessage } from '../virtual/wire/copy.js';
import type { Entry } from './entry.js';
import { Lease, type MemoryHolder } from './holder.js';
import type { MemoryQueue } from './queue.js';

/** What a take may have of a queue. */
export interface Share {
  readonly request: TakeRequest;
  readonly queue: MemoryQueue;
  /** How much of it is left to take. */
  left: number;
}

/**
 * @param rivals How many other connections were told of the same messages and are about to come: a taker gets no more than an equal part.
 */
export function shareOf(request: TakeRequest, queue: MemoryQueue, rivals: number): Share {
  const part = rivals === 0 ? queue.readyCount : Math.ceil(queue.readyCount / (rivals + 1));
  return { request, queue, left: Math.min(request.credit, part) };
}

/** Takes up to `limit` messages: as many from each as from the others, as long as there are any. */
export function takeFairly(
  shares: readonly Share[],
  limit: number,
  take: (share: Share, most: number) => number,
): void {
  let left = limit;
  let open = shares.filter((share) => share.left > 0);
  while (open.length > 0 && left > 0) {
    const equal = Math.max(1, Math.floor(left / open.length));
    for (const share of open) left -= take(share, Math.min(equal, left));
    open = open.filter((share) => share.left > 0 && share.queue.readyCount > 0);
  }
}

export function isLocked(queue: MemoryQueue, holder: MemoryHolder): boolean {
  const { exclusiveTo } = queue.options;
  return exclusiveTo !== undefined && exclusiveTo !== holder.id;
}

export function mayTake(queue: MemoryQueue, holder: MemoryHolder): boolean {
  if (isLocked(queue, holder)) return false;
  const [active] = queue.consumers;
  return queue.options.singleActiveConsumer !== true || active === undefined || active.holder === holder;
}

export function isHeldBy(lease: unknown, holder: MemoryHolder): lease is Lease {
  return lease instanceof Lease && lease.holder === holder;
}

/** @param lease Undefined: it was taken for good. */
export function toTaken(entry: Entry, lease: Lease | undefined): Taken {
  return {
    queue: entry.queue.name,
    message: copyMessage(entry.message),
    lease,
    redelivered: entry.redelivered,
    deliveryCount: entry.returns,
  };
}
