import { ChannelError, ConnectionClosedError, type Consumer, type Message, MessagingError, type Queue } from 'wakame';
import { Alarm, after, type Deferred, deferred, noop, onAbort, raceSignal } from 'wakame/util';
import { MessagingTimeout } from '../errors.js';
import { takeName, type UniqueName } from '../queue-names.js';
import type { Transport } from '../transport.js';
import { DuplicateFilter } from '../wire/duplicates.js';
import { type ReplyBody, readReply, unseal } from '../wire/envelope.js';
import { readFailure } from '../wire/failure.js';
import { GatheredAcks } from './gathered-acks.js';

/** What a call waits for. Durations are milliseconds. */
export interface Waiting {
  readonly method: string;
  readonly timeout: number;
  /** What the caller wanted to wait in all. */
  readonly asked: number;
  /** Silence after which the server is given up; heartbeats break it. */
  readonly monitorTimeout: number | undefined;
  readonly signal: AbortSignal | undefined;
}

interface Mailbox {
  readonly name: UniqueName;
  readonly queue: Queue;
  readonly consumer: Consumer;
}

/** Told of what no call gets. */
export interface RepliesListener {
  late(msgId: string): void;
  unreadable(error: MessagingError): void;
}

/**
 * The answers to all calls of a transport: one queue, one consumer, a waiter for each call.
 *
 * ```
 *   reply_<id> ──▶ _msg_id ─┬─ of a call under way ──▶ its Waiter
 *                           └─ of none ──────────────▶ late: dropped
 * ```
 *
 * The broker deletes the queue when it has not been used for `rabbit_transient_queues_ttl`; so answers that come during a loss of the connection are not lost.
 */
export class Replies {
  readonly #transport: Transport;
  readonly #listener: RepliesListener;
  readonly #waiters = new Map<string, Waiter>();
  readonly #duplicates = new DuplicateFilter();
  readonly #acks = new GatheredAcks();
  /** One timer for all calls. A timer of its own costs a call more than its envelope. */
  readonly #alarm = new Alarm((now) => this.#expire(now), 1);
  /** From the first start on. */
  #mailbox: Mailbox | undefined;
  #starting: Promise<unknown> | undefined;
  #closing: Promise<void> | undefined;

  constructor(transport: Transport, listener: RepliesListener) {
    this.#transport = transport;
    this.#listener = listener;
  }

  /** Where answers arrive. Throws CHANNEL_CLOSED before it was {@link ready}. */
  get queue(): Queue {
    if (this.#mailbox === undefined) throw new ChannelError('no call was made yet: there is no reply queue');
    return this.#mailbox.queue;
  }

  get isClosed(): boolean {
    return this.#closing !== undefined;
  }

  /** Whether answers can arrive. */
  get isReady(): boolean {
    if (this.#starting !== undefined || this.#mailbox === undefined) return false;
    return this.#mailbox.consumer.consumingFrom(this.#mailbox.queue.name);
  }

  /** Calls that wait for their answer. */
  get waiting(): number {
    return this.#waiters.size;
  }

  /** Resolves when answers can arrive. Rejects as `consume` does, or with the signal's reason. */
  ready(signal: AbortSignal | undefined): Promise<unknown> {
    // Shared by all who wait for it. Where the queue was lost for good, it begins anew.
    this.#starting ??= this.#start().finally(() => {
      this.#starting = undefined;
    });
    return raceSignal(this.#starting, signal).catch((error: unknown) => {
      throw this.isClosed && error !== signal?.reason ? this.#closedError() : error;
    });
  }

  async #start(): Promise<void> {
    await this.#transport.connecting();
    this.#mailbox ??= await this.#open();
    // While it was closed in the meantime, this rejects.
    await this.#mailbox.consumer.consume({ timeout: Number.POSITIVE_INFINITY });
  }

  async #open(): Promise<Mailbox> {
    const { conf, topology, connection } = this.#transport;
    const name = await takeName(conf);
    if (this.isClosed) {
      name.release();
      throw this.#closedError();
    }
    const queue = topology.replyQueue(name.text);
    const consumer = connection.consumer(queue, {
      accept: ['json'],
      onMessage: (message) => this.#arrived(message),
      onDecodeError: (message, error) => this.#unreadable(message, error),
    });
    return { name, queue, consumer };
  }

  /** The answer to the call with this id. */
  wait(msgId: string, waiting: Waiting): Waiter {
    const waiter = new Waiter(waiting, () => {
      this.#waiters.delete(msgId);
      if (this.#waiters.size === 0) this.#alarm.keepAlive(false);
    });
    this.#waiters.set(msgId, waiter);
    this.#alarm.keepAlive(true);
    this.#alarm.set(waiter.deadline);
    return waiter;
  }

  #expire(now: number): void {
    for (const waiter of this.#waiters.values()) {
      if (waiter.deadline <= now) waiter.expire();
      else this.#alarm.set(waiter.deadline);
    }
  }

  /** Acknowledges what was answered: no answer waits for that from now on. */
  settle(): void {
    this.#acks.end();
  }

  /** Calls under way reject. Never rejects. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    for (const waiter of [...this.#waiters.values()]) waiter.fail(this.#closedError());
    this.#alarm.stop();
    this.settle();
    this.#starting?.catch(noop);
    await this.#mailbox?.consumer.close();
    this.#mailbox?.name.release();
  }

  #closedError(): MessagingError {
    const { state } = this.#transport.connection;
    const isOver = state === 'closing' || state === 'closed';
    return isOver
      ? new ConnectionClosedError('the connection was closed')
      : new ChannelError('the transport was closed');
  }

  #arrived(message: Message): void {
    let reply: ReplyBody;
    try {
      reply = readReply(unseal(message.payload));
    } catch (error) {
      this.#unreadable(message, error);
      return;
    }
    this.#acks.add(message);
    if (this.#duplicates.isDuplicate(reply.uniqueId)) return;
    const waiter = this.#waiters.get(reply.msgId);
    if (waiter === undefined) this.#listener.late(reply.msgId);
    else if (reply.failure === undefined) waiter.answered(reply);
    else waiter.fail(readFailure(reply.failure, this.#transport.remoteErrors));
  }

  #unreadable(message: Message, error: unknown): void {
    void message.reject();
    if (!(error instanceof MessagingError)) throw error;
    this.#listener.unreadable(error);
  }
}

/**
 * One call that waits.
 *
 * ```
 *   waiting ── answered, ending ──────────▶ done: resolves with the last result that was not null
 *    │   └──── answered, not ending ──▶ waiting: a heartbeat, or half of an answer as servers before Liberty send it
 *    ├─ fail, timeout, silence, abort ────▶ done: rejects
 * ```
 */
export class Waiter {
  /** Rejects with the failure of the method, MessagingTimeout, or the signal's reason. */
  readonly result: Promise<unknown>;
  /** On the clock of `performance.now()`: when it is to be told to {@link expire}. */
  readonly deadline: number;
  readonly #waiting: Waiting;
  readonly #done: () => void;
  readonly #settle: Deferred<unknown>;
  readonly #offSignal: () => void;
  #offMonitor: () => void = noop;
  #last: unknown = null;
  #state: 'waiting' | 'done' = 'waiting';

  /** @param done Called once, when it waits no more. */
  constructor(waiting: Waiting, done: () => void) {
    this.#waiting = waiting;
    this.#done = done;
    this.#settle = deferred<unknown>();
    this.result = this.#settle.promise;
    const { timeout, signal } = waiting;
    this.deadline = performance.now() + timeout;
    this.#offSignal = signal === undefined ? noop : onAbort(signal, (reason) => this.fail(reason));
    this.#listen();
  }

  answered({ result, ending }: Pick<ReplyBody, 'result' | 'ending'>): void {
    if (this.#state === 'done') return;
    if (result !== null) this.#last = result;
    if (!ending) {
      this.#listen();
      return;
    }
    this.#finish();
    this.#settle.resolve(this.#last);
  }

  /** The time is over. */
  expire(): void {
    const { asked, method } = this.#waiting;
    this.fail(new MessagingTimeout(`no answer to '${method}' within ${asked} ms`));
  }

  fail(reason: unknown): void {
    if (this.#state === 'done') return;
    this.#finish();
    this.#settle.reject(reason);
  }

  #listen(): void {
    const { monitorTimeout, method } = this.#waiting;
    if (monitorTimeout === undefined) return;
    this.#offMonitor();
    this.#offMonitor = after(monitorTimeout, () => {
      this.fail(new MessagingTimeout(`no sign of life from the server of '${method}' within ${monitorTimeout} ms`));
    });
  }

  #finish(): void {
    this.#state = 'done';
    this.#offMonitor();
    this.#offSignal();
    this.#done();
  }
}
