/** Which fault hit whom, and when. */
import type { Fault, History, Worker } from './history.ts';

/** A connection that a fault has spoilt may be found dead only later: this many milliseconds after the end of the fault. */
const AFTERMATH = 30_000;

/** What hit one life of a worker: from when until when, and by which kind of fault. */
interface Hit {
  readonly kind: string;
  readonly crash: boolean;
  readonly from: number;
  readonly until: number;
}

/** Finds the faults that a worker suffered from during some time. */
export class Hits {
  readonly #history: History;
  readonly #byWorker = new Map<string, readonly Hit[]>();

  constructor(history: History) {
    this.#history = history;
  }

  /** What hit the worker between these times; nothing for somebody unknown. */
  of(by: string, from: number, until: number): Hit[] {
    return this.#all(by).filter((hit) => hit.from <= until && hit.until >= from);
  }

  #all(by: string): readonly Hit[] {
    let hits = this.#byWorker.get(by);
    if (hits === undefined) {
      hits = this.#find(by);
      this.#byWorker.set(by, hits);
    }
    return hits;
  }

  #find(by: string): Hit[] {
    const worker = this.#history.workers.get(by);
    if (worker === undefined) return [];
    const hits: Hit[] = [];
    for (const fault of this.#history.faults.values()) {
      if (!hitsPlace(fault, worker.place)) continue;
      // A connection that was lost because of it may have been useless until then.
      const loss = worker.losses.find((at) => at >= fault.from && at <= fault.until + AFTERMATH);
      hits.push({ ...fault, until: Math.max(fault.until, loss ?? 0) });
    }
    if (worker.killedAt !== undefined) {
      hits.push({ kind: 'kill -9', crash: false, from: worker.killedAt, until: Number.POSITIVE_INFINITY });
    }
    return hits;
  }
}

export function hitsPlace(fault: Fault, place: string): boolean {
  return fault.targets === 'all' || fault.targets.includes(place);
}

/** Whether the account may expect anything of the worker at that time: it lives, and nobody has told it to finish. */
export function isAtWork(worker: Worker, at: number): boolean {
  const until = Math.min(
    worker.killedAt ?? Number.POSITIVE_INFINITY,
    worker.toldAt ?? Number.POSITIVE_INFINITY,
    worker.endedAt ?? Number.POSITIVE_INFINITY,
  );
  return worker.startedAt <= at && at < until;
}
