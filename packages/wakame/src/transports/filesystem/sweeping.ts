import type { SweepResult, Taken } from '../virtual/driver.js';
import type { Incarnation } from './incarnation.js';
import { hasExpired } from './taking.js';

/** Does what nobody's call does; at most `limit` of each. */
export async function sweep(incarnation: Incarnation, limit: number): Promise<SweepResult> {
  const { messages, queues } = incarnation;
  incarnation.promote();
  const returned = messages.returnLapsed(limit);
  const deletedQueues = await queues.sweep(limit);
  const expired = await takeExpired(incarnation, limit);
  const overflowed = await messages.takeOverflowed(limit);
  messages.tidyTemp();
  return { returned, expired, overflowed, deletedQueues };
}

/** Those with somewhere to go; the others are deleted. */
async function takeExpired(incarnation: Incarnation, limit: number): Promise<readonly Taken[]> {
  const { listing, messages, layout, alarm } = incarnation;
  await listing.refresh();
  const taken: Taken[] = [];
  for (const queue of [...listing.queues]) {
    const marked = listing.of(queue).filter(({ expiresAt }) => expiresAt !== undefined);
    if (marked.length === 0) continue;
    const { deadLetter = false } = incarnation.optionsOf(queue) ?? {};
    const expired = marked.filter(hasExpired);
    if (!deadLetter) {
      await messages.delete(expired);
      continue;
    }
    for (const name of expired) {
      if (taken.length >= limit) return taken;
      const one = await messages.hold(layout.source.ready, name, undefined);
      if (one !== undefined) taken.push({ ...one, expired: true });
    }
    listing.drop(queue, new Set(expired));
    const rest = marked.filter((name) => !hasExpired(name)).map(({ expiresAt }) => expiresAt as number);
    if (rest.length > 0) alarm.at(rest.reduce((least, at) => Math.min(least, at)));
  }
  return taken;
}
