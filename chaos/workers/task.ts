/** What the parent tells a worker to do: JSON, the only argument of its process. */
import type { ConnectionOptions } from 'wakame';

/** A queue to declare. */
export interface TaskQueue {
  readonly name: string;
  readonly arguments?: Readonly<Record<string, unknown>> | undefined;
}

interface Task {
  /** Its name in the log: the place, a dot, and the how-manieth process there it is. */
  readonly by: string;
  readonly url: string | readonly string[];
  /** Of the Connection. */
  readonly options: Pick<ConnectionOptions, 'heartbeat' | 'connectTimeout' | 'ssl' | 'transportOptions'>;
  readonly seed: number;
}

export interface ProducerTask extends Task {
  /** Each message goes to one of them; the first gets three quarters. */
  readonly queues: readonly TaskQueue[];
  readonly perSecond: number;
  /** Messages that its predecessors have left behind. */
  readonly owed: number;
}

export interface ConsumerTask extends Task {
  readonly queue: TaskQueue;
  /** `loop`: with `for await`. */
  readonly style: 'handler' | 'loop';
  readonly prefetch: number;
  /** Handlers at work at a time; 1 when not given. */
  readonly concurrency?: number | undefined;
  /** A queue of its own, to which it publishes itself. */
  readonly side: string | undefined;
}

/** The messages of the account. */
export interface Numbered {
  readonly producer: string;
  readonly number: number;
  readonly padding: string;
}

/** Made from the number, so that whoever gets it can tell whether it is whole. */
export function padding(number: number): string {
  const size = number % 997 === 0 ? 300_000 : number % 13 === 0 ? 5_000 : number % 50;
  const unit = `${number}.`;
  return unit.repeat(Math.ceil(size / unit.length));
}
