import { MessagingError } from 'wakame';
import { Deadline, noop, sleep } from 'wakame/util';
import { MessageUndeliverable } from '../errors.js';
import type { Sending, Transport } from '../transport.js';
import { hexId, type ReplyPath, seal, writeReply } from '../wire/envelope.js';
import { failureOf, writeFailure } from '../wire/failure.js';

/** What became of a request. */
export type Outcome = { readonly result: unknown; readonly error?: undefined } | { readonly error: unknown };

/** Reply queues that are known to be gone, and for how long they are. */
const MOST_OBSOLETE = 200;
const OBSOLETE_FOR = 60_000;
/** Between tries to reach a reply queue that is not there, which may be coming back. */
const PAUSE = 250;
/** More often would be noise. */
const SHORTEST_BEAT = 100;

/** Sends the answers of a server, and signs of life before them. */
export class Answers {
  readonly #transport: Transport;
  readonly #obsolete = new Map<string, number>();
  readonly #stopped = new AbortController();

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /**
   * Sends an answer. A result that cannot be written is answered with the error that says so, which `unwritable` is told, too. Rejects MessageUndeliverable when the caller has been gone for
   * `kombu_missing_consumer_retry_timeout`, or was found to be gone within the last minute; as {@link Transport.send}.
   */
  async answer(to: ReplyPath, outcome: Outcome, unwritable: (error: unknown) => void): Promise<void> {
    const body = bodyOf(to, outcome, unwritable);
    const { replyQueue } = to;
    if (this.#isObsolete(replyQueue)) throw new MessageUndeliverable('', replyQueue);
    const deadline = new Deadline(this.#transport.conf.kombu_missing_consumer_retry_timeout * 1000);
    for (;;) {
      try {
        await this.#send(body, replyQueue);
        return;
      } catch (error) {
        if (!isMissing(error)) throw error;
        if (deadline.remaining <= PAUSE || this.#stopped.signal.aborted) {
          this.#remember(replyQueue);
          throw error;
        }
      }
      await sleep(PAUSE, { signal: this.#stopped.signal }).catch(noop);
    }
  }

  /** Gives signs of life, at half of the time that the caller waits for them, until it is told to stop. */
  beat(to: ReplyPath): () => void {
    const { monitorTimeout, msgId } = to;
    if (monitorTimeout === undefined) return noop;
    const interval = Math.max(SHORTEST_BEAT, (monitorTimeout * 1000) / 2);
    const timer = setInterval(() => {
      const body = seal(writeReply({ ...NOTHING, msgId, uniqueId: hexId(), ending: false }));
      // Where it does not arrive, the answer will not either, and tells of it. One that is late is of no use.
      this.#send(body, to.replyQueue, { retry: 0, timeout: interval }).catch(noop);
    }, interval);
    // A method that goes on for ever must not keep a process alive that has closed everything.
    timer.unref();
    return () => clearInterval(timer);
  }

  /** Answers that wait for a queue to come back wait no more. */
  stop(): void {
    this.#stopped.abort();
  }

  #send(body: string, replyQueue: string, how: Pick<Sending, 'retry' | 'timeout'> = {}): Promise<unknown> {
    const { conf, topology } = this.#transport;
    const { exchange, routingKey } = topology.direct(replyQueue);
    return this.#transport.send(body, {
      exchange,
      routingKey,
      mandatory: conf.direct_mandatory_flag,
      retry: how.retry,
      timeout: how.timeout,
    });
  }

  #isObsolete(replyQueue: string): boolean {
    const until = this.#obsolete.get(replyQueue);
    if (until === undefined) return false;
    if (until > performance.now()) return true;
    this.#obsolete.delete(replyQueue);
    return false;
  }

  #remember(replyQueue: string): void {
    const [oldest] = this.#obsolete.keys();
    if (this.#obsolete.size >= MOST_OBSOLETE && oldest !== undefined) this.#obsolete.delete(oldest);
    this.#obsolete.set(replyQueue, performance.now() + OBSOLETE_FOR);
  }
}

const NOTHING = { result: null, failure: undefined };

function bodyOf({ msgId }: ReplyPath, outcome: Outcome, unwritable: (error: unknown) => void): string {
  const ids = { msgId, uniqueId: hexId(), ending: true };
  if ('result' in outcome) {
    try {
      return seal(writeReply({ ...ids, result: outcome.result, failure: undefined }));
    } catch (error) {
      unwritable(error);
      return failed(ids, error);
    }
  }
  return failed(ids, outcome.error);
}

function failed(ids: { readonly msgId: string; readonly uniqueId: string; readonly ending: boolean }, error: unknown) {
  const failure = failureOf(error);
  try {
    return seal(writeReply({ ...ids, result: null, failure: writeFailure(failure) }));
  } catch {
    // Its arguments are nothing that can be written; the error itself is.
    return seal(writeReply({ ...ids, result: null, failure: writeFailure({ ...failure, args: [], kwargs: {} }) }));
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof MessagingError && (error.code === 'UNROUTABLE' || error.code === 'NOT_FOUND');
}
