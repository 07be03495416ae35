/** Accounts for every record: who published it, who handled it, how often. */
import type { Result } from './topology.ts';

export class Account {
  published = 0;
  /** Lines of the records that came again, since a worker died with them in hand. */
  readonly redelivered: number[] = [];
  /** Reports beyond the first for a record. */
  repeated = 0;
  readonly byWorker = new Map<string, number>();
  readonly failures: string[] = [];
  revenue = 0;
  readonly #lines = new Set<number>();

  /** Records that have at least one report. */
  get finished(): number {
    return this.#lines.size;
  }

  get handled(): number {
    return this.finished - this.failures.length;
  }

  /** Records published that nobody has reported on. */
  get missing(): number {
    return this.published - this.finished;
  }

  add(result: Result): void {
    if (result.redelivered) this.redelivered.push(result.line);
    this.byWorker.set(result.worker, (this.byWorker.get(result.worker) ?? 0) + 1);
    if (this.#lines.has(result.line)) {
      this.repeated += 1;
      return;
    }
    this.#lines.add(result.line);
    if ('error' in result.outcome) this.failures.push(result.outcome.error);
    else this.revenue += result.outcome.total;
  }
}
