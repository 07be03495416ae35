/**
 * A chain of promises that are all settled already never lets timers and I/O of the process have a turn. Whoever does work of that kind does so much
 * of it and then waits for the next turn of the event loop.
 */

/** Messages published or delivered by a connection before it waits. */
export const TURN = 512;

// As they were when this was loaded: the fake timers of a test must not stop deliveries.
const { setImmediate } = globalThis;

/** Calls `run` in the next turn of the event loop. */
export function nextTurn(run: () => void): void {
  setImmediate(run);
}
