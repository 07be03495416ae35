import {
  ConnectionError,
  type MessagingError,
  NotSupportedError,
  RecoverableConnectionError,
  ResourceError,
} from '../../errors.js';
import type {
  Arguments,
  ChannelEvents,
  ChannelRole,
  ConnectionEvents,
  OpenOptions,
  TransportChannel,
  TransportConnection,
} from '../../transport/contract.js';
import { DriverCatalog } from './catalog.js';
import { VirtualChannel } from './channel.js';
import type { LocalConsumer } from './consumer.js';
import { Dispatcher } from './dispatcher.js';
import type { Driver, Holder } from './driver.js';
import { Entities } from './entities.js';
import type { Ledger } from './ledger.js';
import type { Mortician } from './mortician.js';
import type { VirtualOptions } from './options.js';
import { Publisher } from './publisher.js';
import { connectionGone, typed } from './refusals.js';
import { Router } from './routing/router.js';
import { Sweeper } from './sweeper.js';

/** AMQP's largest channel number. */
const MOST_CHANNELS = 65_535;

export interface VirtualConnectionOptions {
  readonly driver: Driver;
  readonly holder: Holder;
  readonly ledger: Ledger;
  readonly mortician: Mortician;
  readonly events: ConnectionEvents;
  readonly virtualHost: string;
  readonly serverProperties: Arguments;
  readonly options: VirtualOptions;
  /** It has ended, and so has the driver's incarnation once the promise resolves. */
  readonly ended: (closed: Promise<void>) => void;
}

/**
 * One incarnation: the channels, and the machinery that they share.
 *
 * ```
 *   channel ─┬─ entities ──────────┐
 *            ├─ publisher ─ router ┤
 *            ├─ dispatcher ────────┼─▶ driver
 *            └─ ledger, mortician ─┤      (these two outlive the incarnation)
 *               sweeper ───────────┘
 * ```
 */
export class VirtualConnection implements TransportConnection {
  readonly serverProperties: Arguments;
  readonly heartbeat = 0;
  readonly catalog: DriverCatalog;
  readonly virtualHost: string;
  readonly driver: Driver;
  readonly ledger: Ledger;
  readonly mortician: Mortician;
  readonly router: Router;
  readonly entities: Entities;
  readonly publisher: Publisher;
  readonly dispatcher: Dispatcher;
  readonly #sweeper: Sweeper;
  readonly #events: ConnectionEvents;
  readonly #ended: (closed: Promise<void>) => void;
  readonly #channels = new Map<number, VirtualChannel>();
  #state: 'open' | 'closing' | 'closed' = 'open';
  #loss: MessagingError | undefined;
  #closing: Promise<void> | undefined;
  /** No free channel number is below this. */
  #lowestFree = 1;

  constructor({ driver, holder, ledger, mortician, events, ...rest }: VirtualConnectionOptions) {
    this.driver = driver;
    this.catalog = new DriverCatalog(driver);
    this.ledger = ledger;
    this.mortician = mortician;
    this.#events = events;
    this.#ended = rest.ended;
    this.virtualHost = rest.virtualHost;
    this.serverProperties = rest.serverProperties;
    const { order, pollInterval, deadletterQueue } = rest.options;
    const problem = (error: MessagingError) => this.problem(error);
    const fanout = driver.broadcast !== undefined ? 'broadcast' : driver.herald !== undefined ? 'announced' : 'stored';
    this.router = new Router(driver.table, fanout);
    this.entities = new Entities(driver, this.router, holder.id, rest.virtualHost);
    this.publisher = new Publisher({
      driver,
      router: this.router,
      virtualHost: rest.virtualHost,
      deadletterQueue,
      problem,
    });
    this.dispatcher = new Dispatcher({
      driver,
      ledger,
      mortician,
      order,
      pollInterval,
      problem,
      gone: (consumers) => cancelAll(consumers),
    });
    this.#sweeper = new Sweeper({
      driver,
      mortician,
      problem,
      consumed: () => this.dispatcher.queues,
      gone: (queue) => this.dispatcher.queueGone(queue),
    });
    mortician.opened(this.publisher, problem);
    ledger.opened(problem);
  }

  get state(): 'open' | 'closing' | 'closed' {
    return this.#state;
  }

  async openChannel(_role: ChannelRole, events: ChannelEvents, options: OpenOptions = {}): Promise<TransportChannel> {
    options.signal?.throwIfAborted();
    if (this.#state !== 'open') throw connectionGone(this.#loss);
    while (this.#channels.has(this.#lowestFree)) this.#lowestFree++;
    if (this.#lowestFree > MOST_CHANNELS) {
      throw new ResourceError(`no more than ${MOST_CHANNELS} channels`, { code: 'CHANNEL_LIMIT', recoverable: false });
    }
    const channel = new VirtualChannel(this.#lowestFree, this, events);
    this.#channels.set(channel.id, channel);
    return channel;
  }

  /** The channel has ended. */
  forget(channel: VirtualChannel): void {
    this.#channels.delete(channel.id);
    this.#lowestFree = Math.min(this.#lowestFree, channel.id);
  }

  async updateSecret(_secret: string): Promise<void> {
    throw new NotSupportedError('the secret of an open connection can be replaced on AMQP only');
  }

  close({ timeout }: { readonly timeout: number }): Promise<void> {
    this.#closing ??= this.#close(timeout);
    return this.#closing;
  }

  async #close(timeout: number): Promise<void> {
    if (this.#state !== 'open') return;
    this.#state = 'closing';
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeout);
    });
    await Promise.race([this.#flush(), late]);
    clearTimeout(timer);
    await this.#end(undefined);
  }

  abort(error: MessagingError): void {
    void this.#end(error);
  }

  /** The driver lost its store. */
  lost(error: unknown): void {
    const loss = typed(this.driver, error);
    // Whatever the store calls it: it is the connection that is gone, and the next one may be better.
    const recoverable = new RecoverableConnectionError(loss.message, { cause: error });
    void this.#end(loss instanceof ConnectionError ? loss : recoverable, Promise.resolve());
  }

  /** `sweep` would find something. */
  due(): void {
    this.#sweeper.due();
  }

  problem(error: MessagingError): void {
    queueMicrotask(() => {
      if (this.#state !== 'closed') this.#events.onProblem(error);
    });
  }

  async #flush(): Promise<void> {
    await Promise.all([...this.#channels.values()].map((channel) => channel.close()));
    await this.dispatcher.stop();
    await this.ledger.flushed();
  }

  /** @param closed The driver's own end, if it has ended already. */
  async #end(loss: MessagingError | undefined, closed?: Promise<void>): Promise<void> {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#loss = loss;
    this.#sweeper.stop();
    this.router.close();
    this.ledger.down();
    this.mortician.down();
    void this.dispatcher.stop();
    this.publisher.end(loss);
    for (const channel of [...this.#channels.values()]) channel.end(loss);
    const ending = closed ?? this.driver.close();
    this.#ended(ending);
    queueMicrotask(() => this.#events.onClose(loss));
    await ending;
  }
}

function cancelAll(consumers: readonly LocalConsumer[]): void {
  const channels = new Set(consumers.map((consumer) => consumer.channel));
  for (const channel of channels) channel.cancelled(consumers.filter((consumer) => consumer.channel === channel));
}
