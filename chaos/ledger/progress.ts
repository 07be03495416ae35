/** What can be told of a run while it is going on, from the log. */
import type { Ledger } from './ledger.ts';
import { type LedgerRecord, placeOf } from './records.ts';

export class Progress {
  readonly #ledger: Ledger;
  readonly #published = new Map<string, number>();
  /** Confirmed and not delivered, by producer and number. */
  readonly #owed = new Set<string>();
  readonly #delivered = new Set<string>();
  /** Handled and not acked, by worker and delivery. */
  readonly #held = new Set<string>();
  readonly #ready = new Set<string>();
  readonly #signs = new Map<string, number>();
  #deliveries = 0;

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** Reads what has been written since. */
  update(): void {
    for (const record of this.#ledger.read()) this.#add(record);
  }

  /** Messages that the workers of a place have published. */
  published(place: string): number {
    this.update();
    return this.#published.get(place) ?? 0;
  }

  /** Of all messages, again and again. */
  get deliveries(): number {
    return this.#deliveries;
  }

  /** Whether all these places have had a worker that was ready. */
  isReady(places: readonly string[]): boolean {
    return places.every((place) => this.#ready.has(place));
  }

  /** Whether all these places have been at work since. */
  isAtWorkSince(at: number, places: readonly string[]): boolean {
    return places.every((place) => (this.#signs.get(place) ?? 0) >= at);
  }

  /** Whether everything confirmed has been delivered, and everything delivered has been acked. */
  get isDrained(): boolean {
    return this.#owed.size === 0 && this.#held.size === 0;
  }

  #add(record: LedgerRecord): void {
    switch (record.event) {
      case 'publish':
        this.#published.set(placeOf(record.by), (this.#published.get(placeOf(record.by)) ?? 0) + 1);
        return;
      case 'confirmed': {
        const key = `${record.by}:${record.number}`;
        if (!this.#delivered.has(key)) this.#owed.add(key);
        this.#signs.set(placeOf(record.by), record.at);
        return;
      }
      case 'delivered': {
        const key = `${record.producer}:${record.number}`;
        this.#delivered.add(key);
        this.#deliveries++;
        this.#owed.delete(key);
        this.#held.add(`${record.by}:${record.delivery}`);
        this.#signs.set(placeOf(record.by), record.at);
        return;
      }
      case 'acked':
        this.#held.delete(`${record.by}:${record.delivery}`);
        return;
      case 'ready':
        this.#ready.add(placeOf(record.by));
        return;
      case 'ended':
        for (const key of this.#held) if (key.startsWith(`${record.by}:`)) this.#held.delete(key);
        return;
      default:
        return;
    }
  }
}
