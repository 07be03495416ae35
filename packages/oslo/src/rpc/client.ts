import { InvalidArgumentError, TimeoutError } from 'wakame';
import {
  checkBoolean,
  checkDuration,
  checkInteger,
  checkKeys,
  Deadline,
  raceSignal,
  show,
  withDeadline,
} from 'wakame/util';
import { InvalidTarget, MessagingTimeout, RpcVersionCapError } from '../errors.js';
import { NoOpSerializer, type Serializer } from '../serializer.js';
import { Target, type TargetOptions } from '../target.js';
import { osloTracing, type RequestContext } from '../tracing.js';
import type { Sending, Transport } from '../transport.js';
import { checkVersion, isCompatible } from '../version.js';
import {
  type Args,
  type Context,
  hexId,
  isObject,
  type ReplyPath,
  seal,
  setMember,
  writeRequest,
} from '../wire/envelope.js';
import { type Remote, remoteProxy } from './proxy.js';

/** What a client does unless a call says otherwise. Durations are milliseconds. */
export interface RpcClientOptions {
  /** How long a call waits for its answer. Default: the option `rpc_response_timeout`, 60 s. */
  readonly timeout?: number | undefined;
  /** The newest version of the interface that may be asked for. Default: any. */
  readonly versionCap?: string | undefined;
  /** Default {@link NoOpSerializer}. */
  readonly serializer?: Serializer | undefined;
  /** How often sending is tried again: -1 (the default) as often as it takes, 0 never. Then it rejects MessageDeliveryFailure. */
  readonly retry?: number | undefined;
  /**
   * The server is to give signs of life while it works on a call, and one that has given none for so long is given up. `timeout` holds
   * nevertheless. Whole seconds for servers in Python, 2 at least. Default: none are asked for.
   */
  readonly callMonitorTimeout?: number | undefined;
  /** What reaches no queue rejects MessageUndeliverable at once. Default `false`: a call then times out, a cast is lost. */
  readonly atLeastOnce?: boolean | undefined;
  /** Goes with each request. */
  readonly context?: Context | undefined;
}

/** Changes of {@link RpcClient.prepare}. */
export interface PrepareOptions extends Omit<TargetOptions, 'legacyNamespaces'>, Omit<RpcClientOptions, 'serializer'> {}

/** How one request is sent. */
export interface CastOptions {
  /** Default: the client's. */
  readonly context?: Context | undefined;
  /** Ends the wait; rejects with its reason. */
  readonly signal?: AbortSignal | undefined;
}

/** How one call is made. */
export interface CallOptions extends CastOptions {
  /** Milliseconds to wait for the answer. Default: the client's. */
  readonly timeout?: number | undefined;
}

const KEYS: ReadonlySet<string> = new Set<keyof RpcClientOptions>([
  ...(['timeout', 'versionCap', 'serializer', 'retry', 'callMonitorTimeout', 'atLeastOnce', 'context'] as const),
]);
const PREPARE_KEYS: ReadonlySet<string> = new Set<keyof PrepareOptions>([
  ...(['timeout', 'versionCap', 'retry', 'callMonitorTimeout', 'atLeastOnce', 'context'] as const),
  ...(['exchange', 'topic', 'namespace', 'version', 'server', 'fanout'] as const),
]);
const CAST_KEYS: ReadonlySet<string> = new Set<keyof CastOptions>(['context', 'signal']);
const CALL_KEYS: ReadonlySet<string> = new Set<keyof CallOptions>(['context', 'signal', 'timeout']);

const NO_CONTEXT: Context = Object.freeze({});
const NO_ARGS: Args = Object.freeze({});
const NO_OPTIONS: CallOptions = Object.freeze({});

/**
 * Calls methods of servers (`oslo_messaging.RPCClient`). Immutable: {@link RpcClient.prepare} gives a changed copy.
 *
 * ```ts
 * const client = new RpcClient(transport, { topic: 'compute', version: '2.0' });
 * await client.call('reboot', { id: 7 }, { context: { user: 'demo' } });
 * await client.prepare({ server: 'node-1' }).cast('refresh');
 * await client.prepare({ fanout: true }).cast('refresh');
 *
 * const compute = client.for<ComputeApi>();
 * await compute.reboot({ id: 7 });
 * ```
 */
export class RpcClient {
  readonly transport: Transport;
  readonly target: Target;
  readonly #options: RpcClientOptions;
  readonly #serializer: Serializer;
  readonly #timeout: number;

  /** Throws INVALID_ARGUMENT. Nothing is sent before the first request. */
  constructor(transport: Transport, target: Target | TargetOptions, options: RpcClientOptions = {}) {
    checkKeys('RpcClient', options, KEYS);
    const { timeout, versionCap, retry, callMonitorTimeout, atLeastOnce } = options;
    if (timeout !== undefined) checkDuration('timeout', timeout, { allowInfinity: true });
    if (versionCap !== undefined) checkVersion('versionCap', versionCap);
    if (retry !== undefined) checkInteger('retry', retry, { min: -1 });
    if (callMonitorTimeout !== undefined) checkDuration('callMonitorTimeout', callMonitorTimeout, { min: 1 });
    if (atLeastOnce !== undefined) checkBoolean('atLeastOnce', atLeastOnce);
    this.transport = transport;
    this.target = Target.from(target);
    this.#options = options;
    this.#serializer = options.serializer ?? new NoOpSerializer();
    this.#timeout = timeout ?? transport.conf.rpc_response_timeout * 1000;
  }

  /** A copy with another target or other options; what is `undefined` stays as it is. */
  prepare(changes: PrepareOptions): RpcClient {
    checkKeys('prepare', changes, PREPARE_KEYS);
    const { exchange, topic, namespace, version, server, fanout, ...options } = changes;
    const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
    const target = this.target.with({ exchange, topic, namespace, version, server, fanout });
    return new RpcClient(this.transport, target, { ...this.#options, ...given });
  }

  /** Whether the cap allows a version; the target's own by default. */
  canSendVersion(version: string = this.target.version ?? '1.0'): boolean {
    const { versionCap } = this.#options;
    return versionCap === undefined || isCompatible(versionCap, checkVersion('version', version));
  }

  /**
   * The methods of the servers as functions, typed by their interface: each takes the arguments as one object, and resolves with the result.
   *
   * ```ts
   * interface MathApi { add(args: { a: number; b: number }): number }
   * const sum = await client.for<MathApi>().add({ a: 1, b: 2 });
   * ```
   *
   * Nothing checks that the servers keep to it.
   */
  for<Api extends object>(): Remote<Api> {
    return remoteProxy<Api>(this);
  }

  /**
   * Has a method carried out by one server, and resolves with its result; `undefined` there is `null` here.
   *
   * Rejects with what the method threw: an instance of its class where the transport knows that, else RemoteError; MessagingTimeout without an answer in
   * time, when nobody knows whether it was carried out; InvalidTarget, RpcVersionCapError; as {@link cast} when it cannot be sent; CONNECTION_CLOSED when the
   * transport is closed meanwhile; the reason of `signal`.
   */
  call(method: string, args: object = NO_ARGS, options: CallOptions = NO_OPTIONS): Promise<unknown> {
    if (!osloTracing.request.hasSubscribers) return this.#call(method, args, options);
    const context: RequestContext = { type: 'call', target: this.target, method };
    return osloTracing.request.tracePromise(() => this.#call(method, args, options), context);
  }

  async #call(method: string, args: object, options: CallOptions): Promise<unknown> {
    if (options !== NO_OPTIONS) checkKeys('call', options, CALL_KEYS);
    const { signal, timeout = this.#timeout } = options;
    if (options.timeout !== undefined) checkDuration('timeout', timeout, { allowInfinity: true });
    signal?.throwIfAborted();
    if (this.target.fanout) throw new InvalidTarget('a call has one answer: a fanout can only be cast to');
    const { callMonitorTimeout: monitorTimeout } = this.#options;
    const { replies } = this.transport;
    const deadline = new Deadline(timeout);
    if (!replies.isReady) await this.#ready(method, timeout, signal);
    const msgId = hexId();
    const reply: ReplyPath = {
      msgId,
      replyQueue: replies.queue.name,
      monitorTimeout: monitorTimeout === undefined ? undefined : wholeIfPossible(monitorTimeout / 1000),
    };
    const body = this.#request(method, args, options.context, reply);
    const remaining = deadline.remaining;
    const waiter = replies.wait(msgId, { method, timeout: remaining, asked: timeout, monitorTimeout, signal });
    const expiration = Number.isFinite(timeout) ? timeout : undefined;
    this.#send(body, { expiration, timeout: remaining, signal }).catch((error: unknown) => {
      const cause = error instanceof Error ? error.cause : undefined;
      const isLate = cause instanceof TimeoutError;
      waiter.fail(
        isLate ? new MessagingTimeout(`'${method}' could not be sent within ${timeout} ms`, { cause }) : error,
      );
    });
    const result = await waiter.result;
    return this.#serializer.deserializeEntity(options.context ?? this.#options.context ?? NO_CONTEXT, result);
  }

  /**
   * Has a method carried out by one server, or by all with `fanout`, and does not wait for it. Resolves when the broker has the request.
   *
   * Rejects InvalidTarget, RpcVersionCapError, ENCODE_FAILED, MESSAGE_TOO_LARGE; MessageDeliveryFailure after `retry` tries; MessageUndeliverable with
   * `atLeastOnce`; the reason of `signal`.
   */
  cast(method: string, args: object = NO_ARGS, options: CastOptions = NO_OPTIONS): Promise<void> {
    if (!osloTracing.request.hasSubscribers) return this.#cast(method, args, options);
    const context: RequestContext = { type: 'cast', target: this.target, method };
    return osloTracing.request.tracePromise(() => this.#cast(method, args, options), context);
  }

  async #cast(method: string, args: object, options: CastOptions): Promise<void> {
    checkKeys('cast', options, CAST_KEYS);
    const { signal } = options;
    signal?.throwIfAborted();
    await this.#send(this.#request(method, args, options.context, undefined), { signal });
  }

  /** The body of a request. Throws what is wrong with it. */
  #request(method: string, args: object, given: Context | undefined, reply: ReplyPath | undefined): string {
    if (typeof method !== 'string' || method === '') {
      throw new InvalidArgumentError(`method must be the name of a method, not ${show(method)}`);
    }
    if (!isObject(args))
      throw new InvalidArgumentError(`args must be an object of arguments by name, not ${show(args)}`);
    const { namespace, version, topic } = this.target;
    const { versionCap } = this.#options;
    if (topic === undefined) throw new InvalidTarget('the target of a request must have a topic');
    if (versionCap !== undefined && !this.canSendVersion()) throw new RpcVersionCapError(version ?? '1.0', versionCap);
    const context = given ?? this.#options.context ?? NO_CONTEXT;
    const serialized: Record<string, unknown> = {};
    for (const name of Object.keys(args)) {
      setMember(serialized, name, this.#serializer.serializeEntity(context, (args as Args)[name]));
    }
    return seal(
      writeRequest({
        method,
        args: serialized,
        namespace,
        version,
        reply,
        uniqueId: hexId(),
        context: this.#serializer.serializeContext(context),
      }),
    );
  }

  #send(body: string, how: Pick<Sending, 'expiration' | 'timeout' | 'signal'>): Promise<unknown> {
    const { topic = '', server, fanout, exchange } = this.target;
    const { retry, atLeastOnce } = this.#options;
    const { topology } = this.transport;
    const where = fanout
      ? topology.all(topic)
      : topology.topic(exchange, server === undefined ? topic : `${topic}.${server}`);
    return this.transport.send(body, {
      exchange: where.exchange,
      routingKey: where.routingKey,
      expiration: how.expiration,
      timeout: how.timeout,
      signal: how.signal,
      retry,
      mandatory: atLeastOnce,
    });
  }

  /** Waits until answers can arrive. */
  async #ready(method: string, timeout: number, signal: AbortSignal | undefined): Promise<void> {
    const ready = this.transport.replies.ready(undefined);
    try {
      await withDeadline(raceSignal(ready, signal), 'call', { timeout });
    } catch (cause) {
      if (!(cause instanceof TimeoutError)) throw cause;
      throw new MessagingTimeout(`'${method}' could not be sent within ${timeout} ms`, { cause });
    }
  }
}

/** Python's servers want whole seconds. */
function wholeIfPossible(seconds: number): number {
  return seconds >= 1 ? Math.floor(seconds) : seconds;
}
