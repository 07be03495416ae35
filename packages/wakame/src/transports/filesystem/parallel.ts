import { setImmediate as turn } from 'node:timers/promises';

/** Files at work at a time: more than the threads of Node's pool, so that none of those waits for us. */
const MOST = 16;
/** Milliseconds after which others have their turn. */
const SLICE = 5;

/** Does it with each of the items, one after the other. */
export async function inTurn<T>(items: readonly T[], action: (item: T) => void): Promise<void> {
  let slice = performance.now();
  for (const item of items) {
    if (performance.now() - slice > SLICE) {
      await turn();
      slice = performance.now();
    }
    action(item);
  }
}

/** Does it with each of the items, several at a time. The results are in their order; the first failure is thrown when those begun have ended. */
export async function inParallel<T, R>(items: readonly T[], action: (item: T) => Promise<R> | R): Promise<R[]> {
  const results = new Array<R>(items.length);
  let next = 0;
  let failure: { readonly error: unknown } | undefined;
  let slice = performance.now();
  const work = async () => {
    while (next < items.length && failure === undefined) {
      const i = next++;
      try {
        if (performance.now() - slice > SLICE) {
          await turn();
          slice = performance.now();
        }
        results[i] = await action(items[i] as T);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(MOST, items.length) }, work));
  if (failure !== undefined) throw failure.error;
  return results;
}

/** Runs what it is given one after the other, in the order of the calls. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  run<T>(action: () => Promise<T>): Promise<T> {
    const result = this.#last.then(action);
    this.#last = result.catch(() => undefined);
    return result;
  }

  /** When what has been given so far is done. */
  async quiet(): Promise<void> {
    await this.#last;
  }
}
