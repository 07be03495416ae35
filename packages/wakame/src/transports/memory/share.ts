import type { Taken, TakeOptions, TakeRequest } from '../virtual/driver.js';
import { copyMessage } from '../virtual/wire/copy.js';
import { Entry } from './entry.js';
import type { MemoryHolder } from './holder.js';
import type { MemoryQueue } from './queue.js';

/** What a take may still have of a queue. */
interface Share {
  readonly request: TakeRequest;
  readonly queue: MemoryQueue;
  left: number;
}

function isLocked(queue: MemoryQueue, holder: MemoryHolder): boolean {
  const { exclusiveTo } = queue.options;
  return exclusiveTo !== undefined && exclusiveTo !== holder.id;
}

function mayTake(queue: MemoryQueue, holder: MemoryHolder): boolean {
  if (isLocked(queue, holder)) return false;
  const [active] = queue.consumers;
  return queue.options.singleActiveConsumer !== true || active === undefined || active.holder === holder;
}

function isHeldBy(lease: unknown, holder: MemoryHolder): lease is Entry {
  return lease instanceof Entry && lease.state === 'held' && lease.holder === holder;
}

function toTaken(entry: Entry, noAck = false): Taken {
  return {
    queue: entry.queue.name,
    message: copyMessage(entry.message),
    lease: noAck ? undefined : entry,
    redelivered: entry.redelivered,
    deliveryCount: entry.returns,
  };
}
