import type { Connection } from '../connection/connection.js';
import { type ChannelUser, ManagedChannel } from '../connection/managed-channel.js';
import { asMessagingError } from '../connection/waiters.js';
import {
  BufferFullError,
  ChannelError,
  ConnectionClosedError,
  MessagingError,
  NotFound,
  TimeoutError,
  UnroutableError,
} from '../errors.js';
import { debug } from '../tracing.js';
import type { OutgoingMessage, Returned, TransportChannel } from '../transport/contract.js';
import { Alarm } from '../util/alarm.js';
import { type Deadline, doneBefore } from '../util/deadline.js';
import { exchangeBlamed, isFaultOfMessage } from './blame.js';
import { Budget } from './budget.js';
import type { Entry } from './entry.js';
import { asPublishError, isFate, withOutcome } from './outcome.js';
import { MOST_IN_A_TURN } from './turns.js';

/** What an outbox tells its producer. */
export interface OutboxEvents {
  /** A message whose caller has its answer already did not arrive, or nobody knows. */
  lost(entry: Entry, error: MessagingError): void;
  /** What was known of the broker may be wrong: an incarnation of the channel ended, or an exchange is gone. */
  incarnationEnded(): void;
  /** A message reached no queue. `mandatory`: its publish rejects. */
  returned(returned: Returned, mandatory: boolean): void;
}

/**
 * The messages of a producer from `publish()` until their outcome, in the order of publishing.
 *
 * ```
 *   head                              cursor                        tail
 *   sent ─ sent ─ sent ─ … ─ sent ─ │ queued ─ gated ─ queued ─ … ─ queued
 *   wait for their confirms           wait for the channel, or for the one before
 * ```
 *
 * A loss moves the cursor back to the head: what may be sent again is, in order, on the next incarnation of the channel.
 */
export class Outbox implements ChannelUser {
  readonly #connection: Connection;
  readonly #events: OutboxEvents;
  readonly #channel: ManagedChannel;
  readonly #budget: Budget;
  readonly #alarm = new Alarm((now) => this.#expire(now));
  readonly #flushes = new Set<{ readonly upTo: number; readonly done: () => void }>();
  #head: Entry | undefined;
  #tail: Entry | undefined;
  /** The first that is not on its way in the present incarnation. */
  #cursor: Entry | undefined;
  /** The incarnation to send on. */
  #inner: TransportChannel | undefined;
  #inFlight = 0;
  #sequence = 0;
  #connecting = false;
  #closed = false;
  #pumping = false;
  /** Publishes with `confirm: false` that were answered at once. */
  #earlyAnswers = 0;
  /** Such that wait for less to be under way. */
  #heldUp: Entry[] = [];
  /**
   * One message up to this one made the broker close the channel, and it did not say which. They are sent one at a time: the
   * next that the channel dies of is the one.
   */
  #oneByOneUpTo = 0;

  constructor(connection: Connection, maxBufferedBytes: number, events: OutboxEvents) {
    this.#connection = connection;
    this.#events = events;
    this.#budget = new Budget(maxBufferedBytes);
    this.#channel = new ManagedChannel(connection, 'publish', this);
  }

  /** Bytes of messages without an outcome. */
  get bufferedBytes(): number {
    return this.#budget.used;
  }

  /** Messages without an outcome. */
  get isEmpty(): boolean {
    return this.#head === undefined;
  }

  /** Resolves while fewer than 16 MiB wait. */
  ready(): Promise<void> {
    return this.#budget.belowWindow();
  }

  /** Throws BUFFER_FULL when a message of this size has no room. */
  mustHaveRoom(size: number): void {
    if (this.#budget.fits(size)) return;
    const { used, limit } = this.#budget;
    throw new BufferFullError(`${used} bytes wait to be settled, and maxBufferedBytes is ${limit}`, {
      outcome: 'not-sent',
    });
  }

  /** Adds a message at the end, and sends it as soon as it is its turn. */
  add(entry: Entry): void {
    entry.sequence = ++this.#sequence;
    entry.previous = this.#tail;
    if (this.#tail === undefined) this.#head = entry;
    else this.#tail.next = entry;
    this.#tail = entry;
    this.#cursor ??= entry;
    this.#budget.add(entry.size);
    if (this.#inner === undefined) this.#wait(entry);
    else if (this.#cursor === entry) this.#pump();
    if (entry.state === 'done') return;
    entry.deadline = performance.now() + entry.timeout;
    this.#alarm.keepAlive(true);
    this.#alarm.set(entry.deadline);
  }

  /** A gated message may go. */
  open(entry: Entry, message: OutgoingMessage, size: number): void {
    if (entry.state !== 'gated') return;
    entry.state = 'queued';
    entry.message = message;
    this.#budget.add(size - entry.size);
    entry.size = size;
    if (this.#cursor === entry) this.#pump();
  }

  /** Gives a message up: its caller gets `why`. What has been sent already may arrive. */
  drop(entry: Entry, why: unknown): void {
    if (entry.state === 'done') return;
    // The answer to the last attempt says nothing of an earlier one.
    const reason = entry.mayHaveArrived && why instanceof MessagingError ? withOutcome(why, 'unknown') : why;
    if (debug.enabled)
      debug('not published %s: %s', describe(entry), reason instanceof Error ? reason.message : reason);
    if (why instanceof NotFound && !why.recoverable && why.outcome === 'refused') this.#forgetExchange(entry);
    // The outcome first: `flush` resolves after it.
    if (!entry.answered) entry.reject(reason);
    this.#remove(entry);
    if (entry.answered) this.#events.lost(entry, asMessagingError(reason));
    this.#pump();
  }

  /** The exchange is not there any more: the next message declares it anew. */
  #forgetExchange({ message }: Entry): void {
    if (message !== undefined) this.#connection.topology.forget('exchange', message.exchange);
    this.#events.incarnationEnded();
  }

  /** Resolves when everything that was published before has its outcome. */
  flush(): Promise<void> {
    const upTo = this.#sequence;
    if (this.isEmpty) return Promise.resolve();
    return new Promise((resolve) => {
      this.#flushes.add({ upTo, done: resolve });
    });
  }

  /** For the end of the connection. Resolves when everything has its outcome, or at the deadline. */
  async finish(deadline: Deadline): Promise<void> {
    await doneBefore(deadline, this.flush());
    if (this.isEmpty) this.#rest();
  }

  /**
   * Nothing waits. The timer stays, and saves the next publish from setting one; not with a closed connection, which it would keep in
   * memory until it is due.
   */
  #rest(): void {
    const { state } = this.#connection;
    if (state === 'closing' || state === 'closed') this.#alarm.stop();
    else this.#alarm.keepAlive(false);
  }

  /** Closes the channel. What has no outcome yet is rejected. Never rejects. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#channel.close();
    this.#giveUpAll(this.#closedError());
    this.#alarm.stop();
  }

  /** A new incarnation: everything that is still here, and may be sent, is sent, in order. */
  opened(inner: TransportChannel): void {
    this.#inner = inner;
    this.#cursor = this.#head;
    this.#pump();
  }

  /** The end of an incarnation decides about what was sent on it. */
  lost(inner: TransportChannel, error: MessagingError | undefined): void {
    if (this.#inner === inner) this.#inner = undefined;
    this.#events.incarnationEnded();
    const sent = this.#entries().filter((entry) => entry.inner === inner && entry.isUnderWay);
    const reason = error ?? this.#closedError();
    if (debug.enabled && sent.length > 0)
      debug('%d messages under way when the channel ended: %s', sent.length, reason.message);
    const guilty = error === undefined ? [] : this.#guilty(sent, error);
    for (const entry of guilty) this.drop(entry, withOutcome(reason, 'refused'));
    const innocent =
      guilty.length === 0 && this.#oneByOneUpTo === 0
        ? reason
        : new ChannelError(`the channel was closed because of another message: ${reason.message}`, { cause: reason });
    for (const entry of sent) {
      if (!entry.isUnderWay) continue;
      if (error === undefined || !this.#mayRetry(entry, innocent, 0)) this.#orphan(entry, innocent);
      else entry.enqueueAgain(entry.sequence <= this.#oneByOneUpTo);
    }
    this.#inFlight = 0;
    this.#cursor = this.#head;
    for (const entry of this.#entries()) if (entry.state === 'queued') this.#wait(entry);
    this.#connect();
  }

  returned(returned: Returned): void {
    this.#events.returned(returned, false);
  }

  /** Sends what may be sent now. */
  #pump(): void {
    // Within a call that answered at once: the loop that made it goes on.
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      this.#sendQueued();
    } finally {
      this.#pumping = false;
    }
  }

  #sendQueued(): void {
    for (let entry = this.#cursor; entry !== undefined; entry = this.#cursor) {
      const inner = this.#inner;
      // When it is not open, the news of its end is on the way.
      if (inner?.state !== 'open') return;
      // Whoever is behind it waits: order is kept.
      if (entry.state === 'gated') return;
      if (entry.state === 'queued') {
        if (entry.sequence <= this.#oneByOneUpTo && this.#inFlight > 0) return;
        this.#send(entry, inner);
      }
      // One that was answered at once is gone, and the cursor has moved on.
      if (this.#cursor === entry) this.#cursor = entry.next;
    }
  }

  #send(entry: Entry, inner: TransportChannel): void {
    const { message } = entry;
    if (message === undefined) throw new TypeError('a message without a body is sent');
    entry.state = 'sent';
    entry.answer = undefined;
    entry.inner = inner;
    entry.attempts++;
    this.#inFlight++;
    if (!entry.confirm && !entry.answered) this.#answerEarly(entry);
    inner.send(this.#addressed(message), entry.receipt(inner));
  }

  /** With the present names of queues that the broker named: after a loss they have others. */
  #addressed(message: OutgoingMessage): OutgoingMessage {
    const { exchange, routingKey, properties } = message;
    const { topology } = this.#connection;
    const { replyTo } = properties;
    const key = exchange === '' ? topology.currentName(routingKey) : routingKey;
    const reply = replyTo === undefined ? undefined : topology.currentName(replyTo);
    if (key === routingKey && reply === replyTo) return message;
    return { ...message, routingKey: key, properties: { ...properties, replyTo: reply } };
  }

  /** The broker has taken responsibility. */
  taken(entry: Entry, inner: TransportChannel): void {
    if (entry.inner !== inner || (entry.state !== 'sent' && entry.state !== 'orphaned')) return;
    if (debug.enabled) debug('published %s', describe(entry));
    if (!entry.answered) entry.resolve();
    this.#remove(entry);
    if (this.#cursor !== undefined) this.#pump();
  }

  /** It has not, or nobody knows. */
  refused(entry: Entry, inner: TransportChannel, error: MessagingError): void {
    if (entry.inner !== inner) return;
    const failure = asPublishError(error, 'unknown');
    if (entry.state === 'orphaned') this.#bury(entry, failure);
    if (entry.state !== 'sent') return;
    if (failure instanceof UnroutableError && entry.message !== undefined) {
      const { body, properties } = entry.message;
      this.#events.returned({ ...failure.returned, body, properties }, true);
    }
    if (inner.state !== 'open' && !isFate(failure)) {
      // `lost` follows, and knows more.
      entry.answer = failure;
      return;
    }
    const { pause } = entry;
    if (isFate(failure) || !failure.recoverable || pause === undefined) {
      this.drop(entry, failure);
    } else if (this.#mayRetry(entry, failure, pause)) {
      this.#inFlight--;
      if (failure.outcome === 'unknown') entry.mayHaveArrived = true;
      entry.state = 'paused';
      entry.answer = failure;
      entry.timer = setTimeout(() => this.#resume(entry, inner), pause);
    }
  }

  /** The store could not take it a while ago. */
  #resume(entry: Entry, inner: TransportChannel): void {
    if (entry.state === 'paused' && entry.inner === inner && this.#inner === inner) this.#send(entry, inner);
  }

  /** With `confirm: false` the caller is answered as soon as little enough waits. */
  #answerEarly(entry: Entry): void {
    if (!this.#budget.isBelowWindow) {
      if (this.#heldUp.push(entry) === 1) void this.#budget.belowWindow().then(() => this.#answerHeldUp());
    } else if (++this.#earlyAnswers % MOST_IN_A_TURN === 0) {
      setImmediate(() => this.#answer(entry));
    } else {
      this.#answer(entry);
    }
  }

  #answerHeldUp(): void {
    const entries = this.#heldUp;
    this.#heldUp = [];
    for (const entry of entries) this.#answer(entry);
  }

  #answer(entry: Entry): void {
    if (entry.state === 'done') return;
    entry.answered = true;
    entry.offAbort?.();
    entry.resolve();
  }

  /** Whether it may be sent again. Tells its `errback`, whose exception gives it up. */
  #mayRetry(entry: Entry, reason: MessagingError, pause: number): boolean {
    if (entry.pause === undefined) return false;
    try {
      entry.retry?.errback?.(reason, pause);
      return true;
    } catch (thrown) {
      this.drop(entry, thrown);
      return false;
    }
  }

  /** It is not sent again. What the transport knows of it may be still to come: it is waited for until the event loop's next turn. */
  #orphan(entry: Entry, reason: MessagingError): void {
    if (entry.state === 'done') return;
    clearTimeout(entry.timer);
    entry.loss = reason;
    entry.state = 'orphaned';
    if (entry.answer !== undefined) this.#bury(entry, entry.answer);
    else setImmediate(() => this.#bury(entry, reason));
  }

  /** The transport has said what it knows of this message; the reason why its channel ended is known too. */
  #bury(entry: Entry, answer: MessagingError): void {
    this.drop(entry, isFate(answer) ? answer : withOutcome(entry.loss ?? answer, answer.outcome ?? 'unknown'));
  }

  /** Which of the messages sent made the broker close the channel. */
  #guilty(sent: readonly Entry[], error: MessagingError): readonly Entry[] {
    this.#oneByOneUpTo = 0;
    if (!isFaultOfMessage(error)) return [];
    const exchange = exchangeBlamed(error);
    const named = sent.filter(({ message }) => message?.exchange === exchange);
    if (named.length > 0) return named;
    if (sent.length === 1) return sent;
    this.#oneByOneUpTo = sent.at(-1)?.sequence ?? 0;
    return [];
  }

  /** The channel is not open: has it opened, by the message's own retry policy if it has one. */
  #wait(entry: Entry): void {
    this.#connect();
    const { retry } = entry;
    if (retry === undefined || Object.keys(retry).length === 0 || entry.waiting !== undefined) return;
    const { maxRetries } = retry;
    entry.waiting = new AbortController();
    const { signal } = entry.waiting;
    this.#connection
      .ready({
        ...retry,
        maxRetries: maxRetries === undefined ? undefined : Math.max(maxRetries - entry.attempts + 1, 0),
        timeout: Number.POSITIVE_INFINITY,
        signal,
      })
      .catch((error: unknown) => {
        if (!signal.aborted) this.drop(entry, asPublishError(error, entry.outcome));
      })
      .finally(() => {
        entry.waiting = undefined;
      });
  }

  #connect(): void {
    if (this.#connecting || this.#closed || this.#inner !== undefined || this.isEmpty) return;
    this.#connecting = true;
    this.#channel.open({ timeout: Number.POSITIVE_INFINITY }).then(
      () => {
        this.#connecting = false;
        // Lost again before the news of its opening.
        this.#connect();
      },
      (error: unknown) => {
        this.#connecting = false;
        this.#giveUpAll(asMessagingError(error));
      },
    );
  }

  #giveUpAll(reason: MessagingError): void {
    for (const entry of this.#entries()) this.drop(entry, withOutcome(reason, entry.outcome));
  }

  #expire(now: number): void {
    for (const entry of this.#entries()) {
      if (entry.deadline <= now) this.drop(entry, this.#timeout(entry));
      else this.#alarm.set(entry.deadline);
    }
  }

  #remove(entry: Entry): void {
    const { previous, next } = entry;
    if (previous === undefined) this.#head = next;
    else previous.next = next;
    if (next === undefined) this.#tail = previous;
    else next.previous = previous;
    if (this.#cursor === entry) this.#cursor = next;
    // Once the garbage collector holds it for old, it would keep its successor alive, and that one the next, all the way.
    entry.previous = undefined;
    entry.next = undefined;
    if (entry.state === 'sent') this.#inFlight--;
    entry.state = 'done';
    entry.offAbort?.();
    entry.waiting?.abort();
    clearTimeout(entry.timer);
    this.#budget.remove(entry.size);
    if (this.isEmpty) {
      this.#oneByOneUpTo = 0;
      this.#rest();
    }
    if (this.#flushes.size > 0) this.#flushed();
  }

  #flushed(): void {
    const first = this.#head?.sequence ?? Number.POSITIVE_INFINITY;
    for (const flush of this.#flushes) {
      if (first <= flush.upTo) continue;
      this.#flushes.delete(flush);
      flush.done();
    }
  }

  #timeout(entry: Entry): MessagingError {
    const cause = this.#inner === undefined ? this.#connection.lastError : undefined;
    const where = entry.message === undefined ? '' : ` to exchange '${entry.message.exchange}'`;
    const what = entry.attempts > 0 ? 'no answer of the broker' : 'not sent';
    const why = cause === undefined ? '' : `: ${cause.message}`;
    const details = { outcome: entry.outcome, ...(cause === undefined ? {} : { cause }) };
    return new TimeoutError(`publish${where}: ${what} within ${entry.timeout} ms${why}`, details);
  }

  #closedError(): MessagingError {
    const { state } = this.#connection;
    if (state === 'closing' || state === 'closed') return new ConnectionClosedError('the connection was closed');
    return new ChannelError('the producer was closed');
  }

  #entries(): Entry[] {
    const entries: Entry[] = [];
    for (let entry = this.#head; entry !== undefined; entry = entry.next) entries.push(entry);
    return entries;
  }
}

function describe({ message, attempts }: Entry): string {
  if (message === undefined) return 'a message that its schema holds up';
  const { body, exchange, routingKey } = message;
  return `${body.length} bytes to exchange '${exchange}' with key '${routingKey}', sent ${attempts} times`;
}
