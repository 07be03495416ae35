import {
  type Consumer,
  DEFAULTS,
  InvalidArgumentError,
  type Message,
  MessagingError,
  type Queue,
  type WaitOptions,
} from 'wakame';
import { checkInteger, checkKeys, checkOneOf, Deadline, doneBefore, noop, show, TypedEmitter } from 'wakame/util';
import { consumeShared } from '../consuming.js';
import { InvalidTarget } from '../errors.js';
import { takeName, type UniqueName } from '../queue-names.js';
import type { Serializer } from '../serializer.js';
import { Target, type TargetOptions } from '../target.js';
import { type DispatchContext, osloTracing } from '../tracing.js';
import type { Transport } from '../transport.js';
import { DuplicateFilter } from '../wire/duplicates.js';
import { type Request, readRequest, unseal } from '../wire/envelope.js';
import type { AccessPolicy } from './access.js';
import { Answers, type Outcome } from './answers.js';
import { Dispatcher, type Endpoint } from './dispatcher.js';
import { isExpected } from './expected.js';

/** Options of an {@link RpcServer}. */
export interface RpcServerOptions {
  /** Default {@link NoOpSerializer}. */
  readonly serializer?: Serializer | undefined;
  /** Which methods peers may call. Default: those whose names do not begin with `_`. */
  readonly accessPolicy?: AccessPolicy | undefined;
  /** Methods at work at one time. Default: the option `executor_thread_pool_size`, 64. */
  readonly concurrency?: number | undefined;
  /**
   * When a request is acknowledged. Default `before` it is carried out, as oslo.messaging does: one that the process dies of does not come
   * back. `after`: it is carried out again by another server, so its method may run twice.
   */
  readonly ack?: 'before' | 'after' | undefined;
}

/** What a server tells by events. */
export interface RpcServerEvents {
  /** A method threw what it was not expected to, or its result cannot be written, or there is none for the request. The caller, if it waits, has got the error. */
  handlerError: [error: Error, request: Request];
  /** What came is no request. It was rejected. */
  decodeError: [error: MessagingError, message: Message];
  /** The answer could not be sent: the caller is gone, or the broker refused it. */
  answerLost: [error: Error, request: Request];
}

const KEYS: ReadonlySet<string> = new Set<keyof RpcServerOptions>([
  ...(['serializer', 'accessPolicy', 'concurrency', 'ack'] as const),
]);

/** Answers under way at most; then requests wait. */
const MOST_ANSWERS = 1000;

/** (That of `node:timers/promises` checks options, and can be aborted.) */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** What the ping of oslo.messaging calls. */
const PING: Endpoint = { oslo_rpc_server_ping: () => 'pong' };

/**
 * Carries out what clients ask for (`oslo_messaging.RPCServer`). It listens to its topic, which it shares with the other servers of that, to
 * `<topic>.<server>`, and to what is for all of them.
 *
 * ```ts
 * const server = new RpcServer(transport, { topic: 'compute', server: 'node-1' }, [
 *   { target: { version: '2.1' }, reboot: async ({ id }: { id: number }, { context }: RpcCall) => … },
 * ]);
 * await server.start();
 * ```
 *
 * After a loss of the connection it goes on by itself.
 */
export class RpcServer extends TypedEmitter<RpcServerEvents> implements AsyncDisposable {
  readonly transport: Transport;
  readonly target: Target;
  readonly #dispatcher: Dispatcher;
  readonly #concurrency: number;
  readonly #ack: 'before' | 'after';
  readonly #duplicates = new DuplicateFilter();
  readonly #answering = new Set<Promise<void>>();
  #state: 'idle' | 'started' | 'stopped' = 'idle';
  #answers: Answers | undefined;
  #consumer: Consumer | undefined;
  #fanout: { readonly name: UniqueName; readonly queue: Queue } | undefined;
  #offTransport: () => void = noop;

  /**
   * @param target Has topic and server.
   * @param endpoints Asked in this order.
   *
   * Throws INVALID_ARGUMENT. Nothing is sent before {@link start}.
   */
  constructor(
    transport: Transport,
    target: Target | TargetOptions,
    endpoints: readonly Endpoint[],
    options: RpcServerOptions = {},
  ) {
    super();
    checkKeys('RpcServer', options, KEYS);
    this.transport = transport;
    this.target = Target.from(target);
    if (this.target.topic === undefined || this.target.server === undefined) {
      throw new InvalidTarget('the target of a server must have a topic and a server');
    }
    if (!Array.isArray(endpoints)) throw new InvalidArgumentError(`endpoints must be an array, not ${show(endpoints)}`);
    const all = transport.conf.rpc_ping_enabled ? [...endpoints, PING] : endpoints;
    this.#dispatcher = new Dispatcher(all, options.serializer, options.accessPolicy);
    this.#concurrency = checkInteger('concurrency', options.concurrency ?? transport.conf.executor_thread_pool_size, {
      min: 1,
    });
    this.#ack = checkOneOf('ack', options.ack ?? 'before', ['before', 'after']);
  }

  /**
   * Declares its queues and takes requests. Resolves when the broker has accepted it; does nothing when it is started. Waits for the broker
   * as long as it takes, unless `timeout` says otherwise. Rejects as `consumer.consume`.
   */
  async start(wait: WaitOptions = {}): Promise<void> {
    if (this.#state === 'started') return;
    this.#state = 'started';
    const { topic = '', server, exchange } = this.target;
    const { conf, connection, topology } = this.transport;
    const keys = [topic, `${topic}.${server}`];
    this.#answers = new Answers(this.transport);
    this.#offTransport = this.transport.addUser((options) => this.close(options));
    const make = (shared: readonly Queue[]): Consumer => {
      this.#consumer = connection.consumer(shared, {
        accept: ['json'],
        concurrency: this.#concurrency,
        // oslo.messaging has no limit by default; a backlog is better left for other servers to share.
        prefetch: conf.rabbit_qos_prefetch_count === 0 ? undefined : conf.rabbit_qos_prefetch_count,
        onMessage: (message) => this.#receive(message),
        onDecodeError: (message, error) => this.#unreadable(message, error),
      });
      return this.#consumer;
    };
    try {
      const name = await takeName(conf);
      const fanout = topology.fanoutQueue(topic, name.text);
      this.#fanout = { name, queue: fanout };
      const queues = [...keys.map((key) => topology.topicQueue(exchange, key)), fanout];
      await consumeShared(this.transport, wait, queues, make);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** Takes no more requests; those at work go on. What came and was not begun is back in its queue when this resolves. Never rejects. */
  async stop(): Promise<void> {
    if (this.#state !== 'started') return;
    this.#state = 'stopped';
    await this.#consumer?.cancel();
  }

  /** After {@link stop}: waits until the methods at work are done and answered, at most `timeout` milliseconds (10 s). Never rejects. */
  async wait(options: { readonly timeout?: number | undefined } = {}): Promise<void> {
    const deadline = new Deadline(options.timeout ?? DEFAULTS.closeTimeout);
    const consumer = this.#consumer;
    const answers = this.#answers;
    if (this.#state !== 'stopped') return;
    // Waits for the handlers. There is none when the start failed early.
    await consumer?.close({ timeout: deadline.remaining });
    if (!(await doneBefore(deadline, Promise.all(this.#answering)))) answers?.stop();
    await this.#release(deadline);
  }

  /** {@link stop} and {@link wait}. {@link start} starts it again. */
  async close(options: { readonly timeout?: number | undefined } = {}): Promise<void> {
    await this.stop();
    await this.wait(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #release(deadline: Deadline): Promise<void> {
    const fanout = this.#fanout;
    if (this.#state !== 'stopped') return;
    this.#state = 'idle';
    this.#fanout = undefined;
    this.#consumer = undefined;
    this.#offTransport();
    if (fanout === undefined) return;
    fanout.name.release();
    const { connection, topology } = this.transport;
    // Of a broker that is away it goes by itself, in time.
    if (!topology.dropsFanoutQueues || (connection.state !== 'open' && connection.state !== 'closing')) return;
    const gone = fanout.queue.bind(connection).delete({ timeout: Math.max(1, deadline.remaining) });
    await gone.catch(noop);
  }

  async #receive(message: Message): Promise<void> {
    let request: Request;
    try {
      request = readRequest(unseal(message.payload));
    } catch (error) {
      this.#unreadable(message, error);
      return;
    }
    if (this.#duplicates.isDuplicate(request.uniqueId)) {
      await message.ack();
      return;
    }
    if (this.#ack === 'before') {
      if (!(await message.ack())) {
        // Stale: it will come again, and has not been carried out.
        this.#duplicates.forget(request.uniqueId);
        return;
      }
      // What is written leaves with the end of the turn. A method that ends the process must not keep it back.
      await nextTurn();
    }
    const outcome = await this.#carryOut(request);
    const answered = this.#answer(request, outcome);
    if (this.#ack === 'after') {
      await answered;
      await message.ack();
    } else if (this.#answering.size >= MOST_ANSWERS) await Promise.race(this.#answering);
  }

  async #carryOut(request: Request): Promise<Outcome> {
    const { reply } = request;
    const stop = reply === undefined ? noop : (this.#answers?.beat(reply) ?? noop);
    try {
      return { result: await this.#dispatch(request) };
    } catch (thrown) {
      if (!isExpected(thrown)) this.#failed(thrown, request);
      return { error: thrown };
    } finally {
      stop();
    }
  }

  #dispatch(request: Request): Promise<unknown> {
    if (!osloTracing.dispatch.hasSubscribers) return this.#dispatcher.dispatch(request);
    const context: DispatchContext = { target: this.target, request };
    return osloTracing.dispatch.tracePromise(() => this.#dispatcher.dispatch(request), context);
  }

  /** Resolves when the answer is out, or is known to be lost. */
  #answer(request: Request, outcome: Outcome): Promise<void> {
    const { reply } = request;
    const answers = this.#answers;
    if (reply === undefined || answers === undefined) return Promise.resolve();
    const answering = answers
      .answer(reply, outcome, (error) => this.#failed(error, request))
      .catch((error: unknown) => this.#lost(error, request))
      .finally(() => this.#answering.delete(answering));
    this.#answering.add(answering);
    return answering;
  }

  #failed(thrown: unknown, request: Request): void {
    const error = thrown instanceof Error ? thrown : new Error(show(thrown), { cause: thrown });
    if (this.emit('handlerError', error, request) || request.reply !== undefined) return;
    // Nobody waits for an answer that would tell.
    const text = `method '${request.method}' of server '${this.target.server}' failed: ${error.name}: ${error.message}`;
    this.emitOrWarn('handlerError', `oslo method ${request.method}`, text, error, request);
  }

  #lost(thrown: unknown, request: Request): void {
    const error = thrown instanceof Error ? thrown : new Error(show(thrown), { cause: thrown });
    const text = `the answer to '${request.method}' could not be sent: ${error.message}`;
    this.emitOrWarn('answerLost', `oslo answer ${this.target.topic}`, text, error, request);
  }

  #unreadable(message: Message, error: unknown): void {
    void message.reject();
    if (!(error instanceof MessagingError)) throw error;
    const text = `server '${this.target.server}' rejected a request that it cannot read: ${error.message}`;
    this.emitOrWarn('decodeError', `oslo request ${error.code}`, text, error, message);
  }
}
