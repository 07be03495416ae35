/** Logs written by hand, for the tests of the account: each step is ten milliseconds after the one before. */
import type { Entry } from '../ledger/ledger.ts';
import type { LedgerRecord, Rules } from '../ledger/records.ts';

export const rules: Rules = {
  queues: [
    { name: 'work', single: false },
    { name: 'ordered', single: true },
  ],
  ackGrace: 0,
  waiting: 0,
  returnsUnmarked: false,
  patience: 1000,
};

/** One producer, `p.1`, and two consumers, `a.1` and `b.1`. */
export class Log {
  readonly records: LedgerRecord[] = [];
  at = 0;
  #faults = 0;
  readonly #deliveries = new Map<string, number>();
  readonly #started: string[] = [];

  constructor(own: Partial<Rules> = {}) {
    this.add({ event: 'run', stand: 'hand', seed: 1, rules: { ...rules, ...own } });
    this.start('p.1', 'producer');
    this.start('a.1');
    this.start('b.1');
  }

  add(...entries: readonly Entry[]): this {
    for (const entry of entries) {
      this.at += 10;
      this.records.push({ at: this.at, ...entry } as LedgerRecord);
    }
    return this;
  }

  wait(ms: number): this {
    this.at += ms;
    return this;
  }

  start(by: string, role: 'producer' | 'consumer' = 'consumer', options: { ready?: boolean } = {}): this {
    this.#started.push(by);
    this.add({ event: 'started', by, role, language: 'node' });
    if (options.ready !== false)
      this.records.push({ at: this.at, event: 'awake', by }, { at: this.at, event: 'ready', by });
    return this;
  }

  publish(number: number, queue = 'work', by = 'p.1'): this {
    return this.add({ event: 'publish', by, queue, number });
  }

  confirm(number: number, attempts = 1, by = 'p.1'): this {
    return this.add({ event: 'confirmed', by, number, attempts });
  }

  reject(number: number, outcome: 'not-sent' | 'refused' | 'unknown'): this {
    return this.add({ event: 'rejected', by: 'p.1', number, outcome, code: 'TEST' });
  }

  /** Published and confirmed. */
  send(number: number, queue = 'work'): this {
    return this.publish(number, queue).confirm(number);
  }

  /** Delivered, not acked. */
  deliver(
    by: string,
    number: number,
    options: { redelivered?: boolean | null; queue?: string; producer?: string } = {},
  ): this {
    const delivery = (this.#deliveries.get(by) ?? 0) + 1;
    this.#deliveries.set(by, delivery);
    const { redelivered = false, queue = 'work', producer = 'p.1' } = options;
    return this.add({ event: 'delivered', by, queue, delivery, producer, number, redelivered });
  }

  /** Of the last delivery. */
  ack(by: string, live = true): this {
    return this.add({ event: 'acked', by, delivery: this.#deliveries.get(by) ?? 0, live });
  }

  /** Delivered and acked. */
  take(by: string, number: number, options: Parameters<Log['deliver']>[2] = {}): this {
    return this.deliver(by, number, options).ack(by);
  }

  fault(kind: string, targets: readonly string[] | 'all', extra: { crash?: boolean; side?: boolean } = {}): this {
    this.#faults += 1;
    const { crash = false, side = false } = extra;
    return this.add({ event: 'fault', fault: this.#faults, kind, targets, detail: '', crash, side });
  }

  over(): this {
    return this.add({ event: 'fault-over', fault: this.#faults });
  }

  kill(by: string): this {
    this.#started.splice(this.#started.indexOf(by), 1);
    return this.add({ event: 'kill', by }, { event: 'ended', by, code: null, signal: 'SIGKILL' });
  }

  /** All who live finish and end. */
  end(): this {
    this.add({ event: 'last-call' });
    for (const by of this.#started) {
      this.add({ event: 'told', by }, { event: 'finished', by }, { event: 'ended', by, code: 0, signal: null });
    }
    return this;
  }
}
