import type { LocalConsumer, QueueRules } from './consumer.js';

/** The consumers of one queue on this connection, whatever their channels. */
export class Feed {
  readonly queue: string;
  /** Position among the queues of the connection, by when they were first consumed. */
  readonly order: number;
  rules: QueueRules;
  /** Higher priority first, then in order of coming. */
  readonly consumers: LocalConsumer[] = [];
  /** There may be messages. */
  ready = true;
  /** Of the take that is being made. */
  asked = 0;
  got = 0;
  /** Where the search for the next consumer begins. */
  #next = 0;

  constructor(queue: string, order: number, rules: QueueRules) {
    this.queue = queue;
    this.order = order;
    this.rules = rules;
  }

  add(consumer: LocalConsumer): void {
    this.consumers.push(consumer);
    if (!this.rules.singleActive) this.consumers.sort((a, b) => b.priority - a.priority);
  }

  /** Those that may get messages now. */
  get eligible(): readonly LocalConsumer[] {
    return this.rules.singleActive ? this.consumers.slice(0, 1) : this.consumers;
  }

  remove(consumer: LocalConsumer): void {
    const at = this.consumers.indexOf(consumer);
    if (at >= 0) this.consumers.splice(at, 1);
  }

  /**
   * Whose turn it is: in rotation among those that have room, higher priorities first.
   *
   * @param noAck Whether the message was taken for those that do not acknowledge.
   */
  pick(noAck: boolean): LocalConsumer | undefined {
    const consumers = this.eligible;
    const count = consumers.length;
    let best: LocalConsumer | undefined;
    let bestAt = 0;
    for (let i = 0; i < count; i++) {
      const at = (this.#next + i) % count;
      const consumer = consumers[at] as LocalConsumer;
      if (consumer.noAck !== noAck || consumer.room <= 0) continue;
      if (best !== undefined && consumer.priority <= best.priority) continue;
      best = consumer;
      bestAt = at;
      if (consumer.priority === consumers[0]?.priority) break;
    }
    if (best !== undefined) this.#next = bestAt + 1;
    // What was taken without acknowledgement must go to somebody, if only to one that is ending.
    else if (noAck) return this.consumers.find((consumer) => consumer.noAck && consumer.state !== 'ended');
    return best;
  }
}
