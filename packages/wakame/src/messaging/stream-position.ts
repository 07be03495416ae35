import type { Queue } from '../entities/queue.js';
import type { Arguments } from '../transport/message.js';

/** Both an argument of consumers (where to begin) and a header of each delivery (which it is): RabbitMQ's streams. */
const OFFSET = 'x-stream-offset';

/**
 * How far a consumer of a stream has come. A stream keeps what it has delivered, and a consumer says where it begins: one that starts again after a loss
 * has to go on where it was, or it would get everything again, or lose what came meanwhile.
 *
 * ```
 *   settled   5 6 . 8            what is not settled comes again, and what was settled after it
 *   goes on       ▲ at 7
 * ```
 */
export class StreamPosition {
  /** For the consumer; to be read each time it starts. */
  readonly arguments: Arguments;
  readonly #unsettled = new Set<number>();
  #next: number | undefined;

  /** The position in a queue that is a stream, which consumers tell by this argument; undefined for others. */
  static of({ consumerArguments: given }: Pick<Queue, 'consumerArguments'>): StreamPosition | undefined {
    return given !== undefined && OFFSET in given ? new StreamPosition(given) : undefined;
  }

  private constructor(given: Arguments) {
    const now = () => this.#now;
    this.arguments = {
      ...given,
      get [OFFSET]() {
        return now() ?? given[OFFSET];
      },
    };
  }

  get #now(): number | undefined {
    const [first] = this.#unsettled;
    return first ?? this.#next;
  }

  delivered(headers: Readonly<Record<string, unknown>> | undefined): void {
    const offset = headers?.[OFFSET];
    if (typeof offset !== 'number') return;
    this.#unsettled.add(offset);
    this.#next = Math.max(this.#next ?? 0, offset + 1);
  }

  settled(headers: Readonly<Record<string, unknown>>): void {
    this.#unsettled.delete(headers[OFFSET] as number);
  }

  /** The broker ended the consumer: where the stream was deleted, another begins at 0. */
  reset(): void {
    this.#unsettled.clear();
    this.#next = undefined;
  }
}
