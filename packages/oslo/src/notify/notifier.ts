import { randomUUID } from 'node:crypto';
import { InvalidArgumentError } from 'wakame';
import { checkFunction, checkInteger, checkKeys, checkOneOf, checkString, show } from 'wakame/util';
import { writeJson } from 'wakame/wire';
import { NoOpSerializer, type Serializer } from '../serializer.js';
import type { Transport } from '../transport.js';
import { type Context, seal } from '../wire/envelope.js';
import { type Notification, type Priority, timestampNow, writeNotification } from './message.js';
import { Router, type RoutingConfig } from './routing.js';

/** Where notifications go. */
export type NotificationDriver =
  /** To the broker, in the envelope of version 2.0. */
  | 'messagingv2'
  /** To the broker, without an envelope. */
  | 'messaging'
  /** Nowhere. */
  | 'noop'
  /** Where {@link NotifierOptions.routing} says. */
  | 'routing'
  /** To a function: a log, a test, a rule of one's own. */
  | NotificationSink;

/** Takes notifications. A promise is waited for. */
export type NotificationSink = (priority: Priority, notification: Notification) => unknown;

/** A driver that something comes to in the end. */
type Outlet = Exclude<NotificationDriver, 'routing'>;

/** Options of a {@link Notifier}. */
export interface NotifierOptions {
  /** Who tells: `compute.host1`. */
  readonly publisherId?: string | undefined;
  /** Default `messagingv2`. With none, nothing is sent. */
  readonly driver?: NotificationDriver | readonly NotificationDriver[] | undefined;
  /** For the driver `routing`: which notifications go to which drivers. */
  readonly routing?: RoutingConfig | null | undefined;
  /** Further drivers that `routing` names. */
  readonly routed?: Readonly<Record<string, NotificationSink>> | undefined;
  /** Default `notifications`. */
  readonly topics?: string | readonly string[] | undefined;
  /** Default {@link NoOpSerializer}. */
  readonly serializer?: Serializer | undefined;
  /** How often sending is tried again: -1 (the default) as often as it takes, 0 never. */
  readonly retry?: number | undefined;
}

/** How one notification is sent. */
export interface NotifyOptions {
  /** Goes with the notification. Default: empty. */
  readonly context?: Context | undefined;
  /** Ends the wait; rejects with its reason. */
  readonly signal?: AbortSignal | undefined;
}

const KEYS: ReadonlySet<string> = new Set<keyof NotifierOptions>([
  ...(['publisherId', 'driver', 'routing', 'routed', 'topics', 'serializer', 'retry'] as const),
]);
const NOTIFY_KEYS: ReadonlySet<string> = new Set<keyof NotifyOptions>(['context', 'signal']);
const PREPARE_KEYS: ReadonlySet<string> = new Set(['publisherId', 'retry']);

/**
 * Tells of what happens (`oslo_messaging.Notifier`). Each topic and priority has a queue, which the notifier declares, so that nothing is lost before there
 * is a listener.
 *
 * ```ts
 * const notifier = new Notifier(transport, { publisherId: 'compute.host1' });
 * await notifier.info('compute.instance.create.end', { id: 7 }, { context: { user: 'demo' } });
 * ```
 */
export class Notifier {
  readonly transport: Transport;
  readonly publisherId: string | undefined;
  readonly #options: NotifierOptions;
  readonly #serializer: Serializer;
  /** What everything goes to. */
  readonly #outlets: readonly Outlet[];
  readonly #router: Router<Outlet> | undefined;
  readonly #topics: readonly string[];

  /** Throws INVALID_ARGUMENT. */
  constructor(transport: Transport, options: NotifierOptions = {}) {
    checkKeys('Notifier', options, KEYS);
    const { publisherId, driver = 'messagingv2', topics = 'notifications', serializer, retry } = options;
    if (retry !== undefined) checkInteger('retry', retry, { min: -1 });
    this.transport = transport;
    this.publisherId = publisherId === undefined ? undefined : checkString('publisherId', publisherId);
    this.#options = options;
    this.#serializer = serializer ?? new NoOpSerializer();
    const drivers = list(driver).map(checkDriver);
    this.#outlets = drivers.filter((one): one is Outlet => one !== 'routing');
    this.#router = drivers.includes('routing') ? routerOf(options) : undefined;
    if (this.#router === undefined && (options.routing !== undefined || options.routed !== undefined)) {
      throw new InvalidArgumentError("routing and routed are for the driver 'routing'");
    }
    this.#topics = list(topics).map((topic) => checkTopic(topic));
  }

  /** Whether anything is sent anywhere. */
  get isEnabled(): boolean {
    return [...this.#outlets, ...(this.#router?.drivers ?? [])].some((outlet) => outlet !== 'noop');
  }

  /** A copy for another publisher, or that tries more or less often. */
  prepare(changes: Pick<NotifierOptions, 'publisherId' | 'retry'>): Notifier {
    checkKeys('prepare', changes, PREPARE_KEYS);
    const given = Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined));
    return new Notifier(this.transport, { ...this.#options, ...given });
  }

  /** `notify` with the priority `audit`. */
  audit(eventType: string, payload: unknown, options?: NotifyOptions): Promise<void> {
    return this.notify('audit', eventType, payload, options);
  }

  /** `notify` with the priority `debug`. */
  debug(eventType: string, payload: unknown, options?: NotifyOptions): Promise<void> {
    return this.notify('debug', eventType, payload, options);
  }

  /** `notify` with the priority `info`. */
  info(eventType: string, payload: unknown, options?: NotifyOptions): Promise<void> {
    return this.notify('info', eventType, payload, options);
  }

  /** `notify` with the priority `warn`. */
  warn(eventType: string, payload: unknown, options?: NotifyOptions): Promise<void> {
    return this.notify('warn', eventType, payload, options);
  }

  /** `notify` with the priority `error`. */
  error(eventType: string, payload: unknown, options?: NotifyOptions): Promise<void> {
    return this.notify('error', eventType, payload, options);
  }

  /** `notify` with the priority `critical`. */
  critical(eventType: string, payload: unknown, options?: NotifyOptions): Promise<void> {
    return this.notify('critical', eventType, payload, options);
  }

  /** For measurements at high rates. */
  sample(eventType: string, payload: unknown, options?: NotifyOptions): Promise<void> {
    return this.notify('sample', eventType, payload, options);
  }

  /**
   * What the methods named like priorities do. Resolves when the broker has it, for each topic; rejects ENCODE_FAILED, MessageDeliveryFailure after `retry` tries,
   * the reason of `signal`, and what a driver of one's own throws.
   */
  async notify(priority: Priority, eventType: string, payload: unknown, options: NotifyOptions = {}): Promise<void> {
    checkKeys('notify', options, NOTIFY_KEYS);
    checkString('eventType', eventType);
    const { context = {}, signal } = options;
    signal?.throwIfAborted();
    const notification: Notification = {
      ...{ publisherId: this.publisherId, eventType },
      context: this.#serializer.serializeContext(context),
      payload: this.#serializer.serializeEntity(context, payload),
      metadata: { messageId: randomUUID(), timestamp: timestampNow() },
    };
    const routed = this.#router?.route(priority, eventType) ?? [];
    const all = [...this.#outlets, ...routed];
    await Promise.all(all.map((outlet) => this.#hand(outlet, priority, notification, signal)));
  }

  async #hand(driver: Outlet, priority: Priority, notification: Notification, signal?: AbortSignal) {
    if (typeof driver === 'function') await driver(priority, notification);
    if (typeof driver === 'function' || driver === 'noop') return;
    const message = writeNotification(priority, notification);
    const body = driver === 'messaging' ? writeJson(message) : seal(message);
    const { topology } = this.transport;
    const sent = this.#topics.map((topic) => {
      const where = topology.notification(undefined, `${topic}.${priority}`);
      return this.transport.send(body, { ...where, retry: this.#options.retry, signal });
    });
    await Promise.all(sent);
  }
}

function list<T>(value: T | readonly T[]): readonly T[] {
  return Array.isArray(value) ? value : [value as T];
}

function checkDriver(driver: unknown): NotificationDriver {
  if (typeof driver === 'function') return driver as NotificationDriver;
  return checkOneOf('driver', driver, [...BUILT_IN, 'routing']);
}

const BUILT_IN = ['messagingv2', 'messaging', 'noop'] as const;

function routerOf({ routing, routed = {} }: NotifierOptions): Router<Outlet> {
  if (routing === undefined) throw new InvalidArgumentError("the driver 'routing' needs the option routing");
  const drivers = new Map<string, Outlet>(BUILT_IN.map((name) => [name, name]));
  for (const [name, sink] of Object.entries(routed)) {
    if (drivers.has(name)) throw new InvalidArgumentError(`routed: a driver is called '${name}' already`);
    drivers.set(name, checkFunction(`routed.${name}`, sink));
  }
  return new Router(routing, drivers);
}

function checkTopic(topic: unknown): string {
  if (typeof topic === 'string' && topic !== '' && Buffer.byteLength(topic) <= 127) return topic;
  throw new InvalidArgumentError(`a topic must have 1 to 127 bytes, not ${show(topic)}`);
}
