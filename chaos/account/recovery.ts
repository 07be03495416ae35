/** How long it took after each fault until messages flowed again, and whether everybody came back. */
import type { Fault, History, Worker } from './history.ts';
import { hitsPlace } from './hits.ts';

/** Milliseconds from the end of one fault, unless another one followed too soon. */
export interface Recovery {
  readonly kind: string;
  /** Until one of the workers that it hit, and that lived on, had a message or a confirm. */
  readonly first: number;
  /** Until each of them had. */
  readonly all: number;
  /** The longest time, from its beginning on, in which none of them had any. */
  readonly silence: number;
}

/** Measures every fault; `complain` hears of workers that were not at work again in time. */
export function measureRecovery(history: History, complain: (text: string) => void): Recovery[] {
  const places = new Set([...history.workers.values()].map(({ place }) => place));
  const recoveries: Recovery[] = [];
  for (const fault of history.faults.values()) {
    if (fault.until === Number.POSITIVE_INFINITY) {
      complain(`${fault.kind} did not end`);
      continue;
    }
    const waits: number[] = [];
    for (const place of places) {
      if (!hitsPlace(fault, place)) continue;
      const back = waitOf(history, fault, history.signs.get(place), place, place, complain);
      if (back !== undefined) waits.push(back);
      const sideSigns = history.sideSigns.get(place);
      if (fault.side && sideSigns !== undefined)
        waitOf(history, fault, sideSigns, place, `side queue of ${place}`, complain);
    }
    if (waits.length === 0) continue;
    const first = Math.min(...waits);
    const signs = [...places]
      .filter((place) => hitsPlace(fault, place))
      .flatMap((place) => history.signs.get(place) ?? []);
    const silence = longestGap(signs, fault.from, fault.until + first);
    recoveries.push({ kind: fault.kind, first, all: Math.max(...waits), silence });
  }
  return recoveries;
}

/**
 * From the end of the fault to the next sign of life. Neither the time of further faults is held against anybody nor that in which the
 * successor of a worker that was killed starts; what such disturbed is not measured.
 */
function waitOf(
  history: History,
  fault: Fault,
  signs: readonly number[] | undefined,
  place: string,
  who: string,
  complain: (text: string) => void,
): number | undefined {
  const at = firstFrom(signs ?? [], fault.until);
  const until = at ?? history.lastCallAt;
  const wait = until - fault.until;
  const excused = troubled(history, place, fault.until, until);
  if (wait - excused > history.rules.patience || at === undefined) {
    const how = at === undefined ? 'did nothing any more' : `did nothing for ${Math.round(wait - excused)} ms`;
    complain(`${who} ${how} after ${fault.kind} ended at ${Math.round(fault.until)}`);
    return undefined;
  }
  return excused > 0 || !livedThrough(history, place, fault.from, until) ? undefined : wait;
}

/** Of a life that was killed before it was ready: its end. */
function endOfStart({ startedAt, awakeAt, readyAt, killedAt, endedAt }: Worker): number {
  if (readyAt === undefined && killedAt !== undefined) return killedAt;
  return awakeAt ?? endedAt ?? startedAt;
}

/** Whether one process was at this place all the time. */
function livedThrough(history: History, place: string, from: number, until: number): boolean {
  const lives = [...history.workers.values()].filter((worker) => worker.place === place);
  return lives.some(({ startedAt, killedAt = Number.POSITIVE_INFINITY }) => startedAt <= from && killedAt > until);
}

/** Milliseconds between these times in which another fault was at work, with a second to get over each, or a worker of the place started. */
function troubled(history: History, place: string, from: number, until: number): number {
  const faults = [...history.faults.values()]
    .filter((fault) => fault.from > from)
    .map((fault) => [fault.from, fault.until + 1000] as const);
  const starts = [...history.workers.values()]
    .filter((worker) => worker.place === place)
    .map((worker) => [worker.startedAt, endOfStart(worker)] as const);
  const spans = [...faults, ...starts]
    .map(([start, end]) => [Math.max(from, start), Math.min(until, end)] as const)
    .filter(([start, end]) => start < end)
    .sort(([a], [b]) => a - b);
  let [sum, covered] = [0, from];
  for (const [start, end] of spans) {
    sum += Math.max(0, end - Math.max(start, covered));
    covered = Math.max(covered, end);
  }
  return sum;
}

/** The longest time without any of these between the two. */
function longestGap(signs: readonly number[], from: number, until: number): number {
  const within = signs.filter((at) => at >= from && at <= until).sort((a, b) => a - b);
  let [longest, before] = [0, from];
  for (const at of [...within, until]) {
    longest = Math.max(longest, at - before);
    before = at;
  }
  return longest;
}

function firstFrom(sorted: readonly number[], from: number): number | undefined {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] as number) < from) low = middle + 1;
    else high = middle;
  }
  return sorted[low];
}
