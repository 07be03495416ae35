/** Messages that came more than once, and why. */
import type { Delivery, History, Message } from './history.ts';
import type { Hits } from './hits.ts';

export interface DuplicateCount {
  /** Deliveries beyond the first of each message. */
  total: number;
  /** Of those, by reason: because it was sent again, because its holder was hit. By the kind of the fault. */
  readonly resent: Map<string, number>;
  readonly redelivered: Map<string, number>;
  /** Had a reason, but were not flagged: the broker crashed and forgot that it had delivered them. */
  forgotten: number;
}

/** Counts what came again; `complain` hears of each that has no reason in the log. */
export function countDuplicates(history: History, hits: Hits, complain: (text: string) => void): DuplicateCount {
  const count: DuplicateCount = { total: 0, resent: new Map(), redelivered: new Map(), forgotten: 0 };
  for (const message of history.messages.values()) {
    const deliveries = inTurn(message);
    for (let i = 1; i < deliveries.length; i++) {
      count.total++;
      const problem = judge(history, hits, message, deliveries.slice(0, i), deliveries[i] as Delivery, count);
      if (problem !== undefined) complain(problem);
    }
  }
  return count;
}

/**
 * The deliveries as the broker made them. The log has them as they were handled: one that waited in the buffer of its holder, whose
 * connection was lost meanwhile, may come after the one that the broker made because of the loss. That one is
 * flagged, or nobody could flag it.
 */
function inTurn({ deliveries }: Message): readonly Delivery[] {
  return [
    ...deliveries.filter(({ redelivered }) => redelivered === false),
    ...deliveries.filter(({ redelivered }) => redelivered !== false),
  ];
}

/** Says what is wrong with a delivery that is not the first, if anything is. */
function judge(
  history: History,
  hits: Hits,
  message: Message,
  earlier: readonly Delivery[],
  again: Delivery,
  count: DuplicateCount,
): string | undefined {
  const { ackGrace, waiting } = history.rules;
  const atHolders = earlier.flatMap(({ at, by, ackedAt, live }) =>
    // An ack that came too late did not count: whatever happened afterwards.
    hits.of(
      by,
      Math.min(at, again.at) - (live === false ? waiting : 0),
      ackedAt === undefined ? again.at : Math.min(ackedAt + ackGrace, again.at),
    ),
  );
  const atPublisher = hits.of(message.producer, message.publishedAt, message.outcomeAt ?? Number.POSITIVE_INFINITY);
  const [holderHit, publisherHit] = [atHolders[0], atPublisher[0]];
  const name = `${message.producer}:${message.number}`;
  const history_ = `${describe(earlier)}; again ${describe([again])}`;

  // Whoever died or gave up before it was told the outcome may have sent it any number of times.
  const wasResent = (message.attempts ?? Number.POSITIVE_INFINITY) > 1;
  if (again.redelivered !== false && holderHit !== undefined) {
    bump(count.redelivered, holderHit.kind);
    return undefined;
  }
  if (wasResent && publisherHit !== undefined) {
    bump(count.resent, publisherHit.kind);
    return undefined;
  }
  if (atHolders.some((hit) => hit.crash)) {
    count.forgotten++;
    return undefined;
  }
  if (again.redelivered) return `${name} came again, and no fault had hit its holder before the ack: ${history_}`;
  if (wasResent) return `${name} was sent ${message.attempts ?? 'several'} times, and no fault had hit its publisher`;
  return `${name} came again, neither redelivered nor sent again: ${history_}`;
}

function describe(deliveries: readonly Delivery[]): string {
  return deliveries
    .map(({ at, by, redelivered, ackedAt, live }) => {
      const ack = ackedAt === undefined ? 'no ack' : `acked at ${Math.round(ackedAt)}${live ? '' : ', too late'}`;
      return `to ${by} at ${Math.round(at)} (${redelivered ? 'redelivered, ' : ''}${ack})`;
    })
    .join(', ');
}

function bump(map: Map<string, number>, key: string): void {
  map.set(key, (map.get(key) ?? 0) + 1);
}
