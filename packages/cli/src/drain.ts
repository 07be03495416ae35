/** Takes what waits in a queue at this moment, and passes each message on: the common part of move, copy and replay. */
import type { Connection, Delivery } from 'wakame';
import { isInBothPlaces, plural } from './parse.js';
import type { Session } from './session.js';
import { forward, type Target } from './transfer.js';

/** Messages on their way at one time. */
const WINDOW = 200;
/** Messages asked for before their turn: a distant broker answers many as fast as one. What is too many goes back. */
const AHEAD = 32;

export interface DrainOptions {
  readonly from: Connection;
  readonly queue: string;
  readonly to: Connection;
  /** Where a message goes; undefined: it stays where it is. */
  readonly target: (delivery: Delivery) => Target | undefined;
  /** The messages stay where they are, too. */
  readonly keep: boolean;
  /** Only counts. */
  readonly dryRun: boolean;
  readonly count: number;
  /** For the progress: moved. */
  readonly verb: string;
}

export interface Drained {
  /** Messages passed on; with `dryRun`: that would be. */
  readonly passed: number;
  /** Looked at and left alone. */
  readonly left: number;
}

/**
 * Goes through the messages that were in the queue at the beginning, in order. What is left alone is held until the end, and goes back to its
 * place with the channel. At the first message that cannot be passed on it stops, and rejects once those on their way are settled.
 */
export async function drain({ out, signal }: Session, options: DrainOptions): Promise<Drained> {
  const { from, queue, to, keep, dryRun } = options;
  const source = from.channel();
  const sink = to.channel();
  // What comes in meanwhile, perhaps from us, is not meant.
  const { messageCount } = await source.queueDeclare(queue, { passive: true, signal });
  const underWay = new Set<Promise<void>>();
  let begun = 0;
  let passed = 0;
  let left = 0;
  let failure: { readonly error: unknown } | undefined;
  const progress = out.progress(() => `${options.verb} ${passed} of ${plural(messageCount, 'message')}`);

  const pass = async (delivery: Delivery, target: Target): Promise<void> => {
    await forward(sink, delivery, target, signal);
    if (!keep && !(await source.ack(delivery.deliveryTag))) {
      out.warnOfOne(isInBothPlaces);
    }
    passed++;
    progress.tick();
  };
  try {
    let asked = 0;
    const ahead: Promise<Delivery | undefined>[] = [];
    while (failure === undefined && !signal.aborted && begun < options.count) {
      while (ahead.length < AHEAD && asked < messageCount) {
        asked++;
        const next = source.get(queue);
        // Told when its turn comes; what is behind it does not matter then.
        next.catch(() => undefined);
        ahead.push(next);
      }
      const delivery = await ahead.shift();
      if (delivery === undefined) break;
      const target = options.target(delivery);
      if (target === undefined) {
        left++;
        continue;
      }
      begun++;
      if (dryRun) passed++;
      else {
        const one = pass(delivery, target)
          .catch((error: unknown) => {
            failure ??= { error };
          })
          .finally(() => underWay.delete(one));
        underWay.add(one);
        while (underWay.size >= WINDOW) await Promise.race(underWay);
      }
    }
    while (underWay.size > 0) await Promise.all(underWay);
  } finally {
    progress.done();
    await Promise.all([source.close(), sink.close()]);
  }
  if (failure !== undefined) {
    if (passed > 0) out.warn(`${options.verb} ${plural(passed, 'message')} before that`);
    throw failure.error;
  }
  return { passed, left };
}
