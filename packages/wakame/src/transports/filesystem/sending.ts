import type { Outbound, QueueOptions, SendResult } from '../virtual/driver.js';
import type { Incarnation } from './incarnation.js';
import type { Draft } from './messages.js';
import { isQueueName, remarked, stampNow } from './names.js';
import { hasExpired, inServingOrder } from './taking.js';

/** An answer to a queue that nobody is known to have lives so long, in milliseconds: as Celery's results. */
const REPLY_TIME = 86_400_000;

/** What was found out about queues, and the messages as they were written. */
interface Prepared {
  readonly drafts: readonly Draft[];
  readonly options: ReadonlyMap<string, QueueOptions | undefined>;
}

/** One call of `send`. */
export class Sending {
  readonly #incarnation: Incarnation;
  readonly #due: () => void;

  /** @param due Something is to be dead-lettered. */
  constructor(incarnation: Incarnation, due: () => void) {
    this.#incarnation = incarnation;
    this.#due = due;
  }

  /** Writes the files, where nobody sees them yet. Rejects ENCODE_FAILED, and has written none. */
  async prepare(messages: readonly Outbound[]): Promise<Prepared> {
    // Nothing is awaited before: the order of the calls is that of the messages.
    const stamps = messages.map(stampNow);
    const { messages: files } = this.#incarnation;
    const options = new Map<string, QueueOptions | undefined>();
    for (const { queue } of messages) {
      if (!options.has(queue)) options.set(queue, this.#incarnation.optionsOf(queue));
    }
    const encoded = files.encode(messages, stamps, (queue) => {
      const { messageTtl, maxLengthBytes } = options.get(queue) ?? {};
      return { messageTtl, countsBytes: maxLengthBytes !== undefined };
    });
    const drafts = encoded.map(({ draft }) => draft);
    try {
      await files.write(encoded);
    } catch (error) {
      await files.discard(drafts).catch(() => undefined); // What is left of them goes with the next tidying.
      throw error;
    }
    return { drafts, options };
  }

  async publish({ drafts, options }: Prepared, messages: readonly Outbound[]): Promise<readonly SendResult[]> {
    const { messages: files, alarm, locks } = this.#incarnation;
    const queues = [...new Set(messages.map(({ queue }) => queue))];
    const standing = await this.#standing(queues);
    const declared = new Set(queues.filter((queue) => this.#isDeclared(queue)));
    const wanted = drafts.map((draft, i) =>
      standing.has(draft.name.queue) ? draft : this.#implicit(draft, messages[i] as Outbound),
    );
    const results = wanted.map((draft): SendResult => (draft === undefined ? 'missing' : 'stored'));
    await files.discard(drafts.filter((_, i) => results[i] !== 'stored'));
    if (queues.some((queue) => isLimited(options.get(queue)))) {
      await locks.alone(() => this.#publishLimited(wanted, results, options));
    } else await files.publish(wanted.filter((draft) => draft !== undefined));

    // A queue deleted meanwhile must not have messages when it is declared anew. (Of one that was never declared nobody could tell.)
    const deleted = new Set([...declared].filter((queue) => !this.#isDeclared(queue)));
    for (const [i, draft] of wanted.entries()) {
      if (draft === undefined || results[i] !== 'stored') continue;
      const { queue, expiresAt } = draft.name;
      if (deleted.has(queue)) {
        files.retract(draft);
        results[i] = 'missing';
      }
      alarm.at(draft.dueAt);
      if (expiresAt !== undefined && options.get(queue)?.deadLetter === true) alarm.at(expiresAt);
    }
    return results;
  }

  #isDeclared(queue: string): boolean {
    const declared = this.#incarnation.queues.get(queue);
    return declared !== undefined && declared !== 'over';
  }

  /** What becomes of a message to a queue that nobody is known to have; undefined: nothing. */
  #implicit(draft: Draft, { message }: Outbound): Draft | undefined {
    const { name, dueAt = Date.now() } = draft;
    const { queues, options } = this.#incarnation;
    const { implicitQueues } = options;
    if (implicitQueues === 'never' || !isQueueName(name.queue) || queues.get(name.queue) === 'over') return undefined;
    if (implicitQueues === 'always') return draft;
    // Of a queue that waits for an answer, empty and bound to nothing, Python leaves no trace at all.
    if (message.exchange !== '' || message.properties.correlationId === undefined) return undefined;
    return { ...draft, name: remarked(name, { expiresAt: name.expiresAt ?? dueAt + REPLY_TIME }) };
  }

  /** Those that exist. A queue that was never declared through us may do so by its messages. */
  async #standing(queues: readonly string[]): Promise<ReadonlySet<string>> {
    const standing = new Set<string>();
    for (const queue of queues) {
      const declared = this.#incarnation.queues.get(queue);
      if (declared !== undefined) {
        if (declared !== 'over') standing.add(queue);
        continue;
      }
      await this.#incarnation.listing.refresh();
      if (await this.#incarnation.exists(queue)) standing.add(queue);
    }
    return standing;
  }

  /** One after the other, each counted. For who has the lock: nobody else adds to a limited queue meanwhile. */
  async #publishLimited(
    drafts: readonly (Draft | undefined)[],
    results: SendResult[],
    options: ReadonlyMap<string, QueueOptions | undefined>,
  ): Promise<void> {
    const { messages: files, listing } = this.#incarnation;
    await listing.refresh();
    for (const [i, draft] of drafts.entries()) {
      if (draft === undefined) continue;
      const rules = options.get(draft.name.queue);
      if (!isLimited(rules) || draft.dueAt !== undefined) {
        await files.publish([draft]);
        continue;
      }
      const isRefused = rules.overflow !== undefined && rules.overflow !== 'drop-head';
      if (isRefused && this.#surplus(draft, rules, 1)) {
        results[i] = 'full';
        await files.discard([draft]);
        continue;
      }
      await files.publish([draft]);
      while (this.#surplus(draft, rules, 0)) {
        const [head] = inServingOrder(this.#ready(draft.name.queue), rules.maxPriority ?? 0);
        if (head === undefined) break;
        files.pushOut(head, rules.deadLetter);
        if (rules.deadLetter) this.#due();
      }
    }
  }

  /** Whether the queue has too much, with `more` such messages. */
  #surplus({ name }: Draft, { maxLength, maxLengthBytes }: QueueOptions, more: number): boolean {
    const ready = this.#ready(name.queue);
    if (ready.length + more > (maxLength ?? Number.POSITIVE_INFINITY)) return true;
    if (maxLengthBytes === undefined) return false;
    return ready.reduce((sum, { bytes }) => sum + bytes, more * name.bytes) > maxLengthBytes;
  }

  #ready(queue: string) {
    return this.#incarnation.listing.of(queue).filter((one) => !hasExpired(one));
  }
}

function isLimited(options: QueueOptions | undefined): options is QueueOptions {
  return options?.maxLength !== undefined || options?.maxLengthBytes !== undefined;
}
