import type { ConsumerChannel } from '../connection/consumer-channel.js';
import type { Queue } from '../entities/queue.js';
import type { TransportChannel } from '../transport/contract.js';
import { type CycleName, cycleByName } from '../util/cycles.js';
import { FifoQueue } from '../util/queue.js';
import type { Decoding } from './decode.js';
import { type Message, type MessageOwner, setReleased } from './message.js';
import { StreamPosition } from './stream-position.js';

/** A message that has come and that nobody has looked at. */
export interface Arrival<T> {
  readonly message: Message<T>;
  readonly source: Source<T>;
  /** The incarnation that delivered it. */
  readonly inner: TransportChannel;
}

/** One queue of a consumer, and what has come from it. */
export interface Source<T> {
  /** Its name when it was added; the present one is `queue.name`. */
  readonly key: string;
  /** As it was added. */
  readonly given: Queue<T>;
  /** Bound to the consumer's connection. */
  readonly queue: Queue<T>;
  readonly decoding: Decoding<T>;
  readonly arrivals: FifoQueue<Arrival<T>>;
  /** Of a stream. */
  readonly position: StreamPosition | undefined;
  /** The consumer at the broker, from the moment it is asked for; undefined: none. */
  subscription: Subscription<T> | undefined;
  /** It is being stopped: nothing is taken from it, what comes is given back. */
  stopping: boolean;
}

/** A consumer at the broker. */
export interface Subscription<T> extends MessageOwner {
  readonly source: Source<T>;
  readonly tag: string;
  /** Where it consumes, once the broker has accepted it. */
  channel: ConsumerChannel | undefined;
  /** Unsettled messages of the consumer that it replaced: together they fill the prefetch. */
  waitsFor: Set<Message<T>> | undefined;
}

/**
 * What several queues have delivered, taken in turn: `round_robin` (one from each), `priority` (the first queue while it has
 * any), `sorted` (likewise, by name).
 */
export class Intake<T> {
  readonly #sources = new Map<string, Source<T>>();
  readonly #cycle: ReturnType<typeof cycleByName<string>>;
  /** The source, where there is just one: nothing to choose. */
  #only: Source<T> | undefined;
  #size = 0;

  constructor(strategy: CycleName) {
    this.#cycle = cycleByName<string>(strategy);
  }

  get sources(): ReadonlyMap<string, Source<T>> {
    return this.#sources;
  }

  /** Arrivals not taken. */
  get size(): number {
    return this.#size;
  }

  /** Whether any of them is still to be settled. */
  get hasUnsettled(): boolean {
    if (this.#size === 0) return false;
    return [...this.#sources.values()].some(({ arrivals }) =>
      [...arrivals].some(({ message }) => !message.acknowledged),
    );
  }

  add(key: string, given: Queue<T>, queue: Queue<T>, decoding: Decoding<T>): void {
    const arrivals = new FifoQueue<Arrival<T>>();
    const position = StreamPosition.of(queue);
    this.#sources.set(key, {
      key,
      given,
      queue,
      decoding,
      arrivals,
      position,
      subscription: undefined,
      stopping: false,
    });
    this.#updated();
  }

  remove(source: Source<T>): void {
    this.#sources.delete(source.key);
    this.#updated();
  }

  #updated(): void {
    const [first, second] = this.#sources.values();
    this.#only = second === undefined ? first : undefined;
    this.#cycle.update(this.#sources.keys());
  }

  push(arrival: Arrival<T>): void {
    arrival.source.arrivals.push(arrival);
    this.#size++;
  }

  /** The next to be handled. */
  take(): Arrival<T> | undefined {
    if (this.#size === 0) return undefined;
    if (this.#only !== undefined) return this.#takeFrom(this.#only);
    for (const key of this.#cycle.consume(this.#sources.size)) {
      const source = this.#sources.get(key);
      const arrival = source === undefined ? undefined : this.#takeFrom(source);
      if (arrival === undefined) continue;
      this.#cycle.rotate(key);
      return arrival;
    }
    return undefined;
  }

  #takeFrom(source: Source<T>): Arrival<T> | undefined {
    const arrival = source.stopping ? undefined : source.arrivals.shift();
    if (arrival !== undefined) this.#size--;
    return arrival;
  }

  /** Forgets what an incarnation delivered that is gone with all its deliveries; not what was delivered with `noAck`. */
  dropFrom(inner: TransportChannel): void {
    for (const source of this.#sources.values()) {
      for (const arrival of this.#drain(source)) {
        if (arrival.inner !== inner || arrival.message.acknowledged) this.push(arrival);
      }
    }
  }

  /** Gives back, in order, what came from a queue. What was delivered with `noAck` cannot be given back, and stays. */
  async release(source: Source<T>): Promise<void> {
    const tags = new Map<TransportChannel, unknown[]>();
    for (const arrival of this.#drain(source)) {
      const { inner, message } = arrival;
      if (message.acknowledged) {
        this.push(arrival);
        continue;
      }
      setReleased(message);
      const ofInner = tags.get(inner);
      if (ofInner === undefined) tags.set(inner, [message.deliveryTag]);
      else ofInner.push(message.deliveryTag);
    }
    await Promise.all([...tags].map(([inner, list]) => inner.release(list)));
  }

  #drain(source: Source<T>): Arrival<T>[] {
    const arrivals = source.arrivals.drain();
    this.#size -= arrivals.length;
    return arrivals;
  }
}
