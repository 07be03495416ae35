/** What is measured of clients of Redis. */
import type { Budget, Sample } from '../lib/sample.ts';

/** 100 bytes. */
export const text = 'x'.repeat(100);
/** Messages under way at a time. */
export const WINDOW = 256;

export interface RedisAdapter {
  /** Puts messages into a queue, a window of them unanswered at a time. */
  enqueue(url: string, budget: Budget): Promise<Sample>;
  /** Puts `budget.most` messages into a queue, which does not count; then takes, records and acknowledges them. */
  take(url: string, budget: Budget): Promise<Sample>;
}

/** Keeps a window of messages under way. */
export function keepWindow(
  send: (done: (error?: unknown) => void) => void,
  more: () => boolean,
  finished: (error?: unknown) => void,
): void {
  let left = 0;
  let going = true;
  const done = (error?: unknown) => {
    if (error !== undefined) return finished(error);
    left--;
    going &&= more();
    if (going) next();
    else if (left === 0) finished();
  };
  const next = () => {
    left++;
    send(done);
  };
  for (let i = 0; i < WINDOW; i++) next();
}
