/** Channels over a driver, without the layers above. */
import { onTestFinished } from 'vitest';
import type { MessagingError } from '../../src/errors.js';
import type {
  ConnectionParameters,
  ConsumeOptions,
  Delivery,
  OutgoingMessage,
  Returned,
  Transport,
  TransportChannel,
  TransportConnection,
  TransportModule,
} from '../../src/transport/contract.js';
import { MemoryDriver, type MemoryDriverOptions, resetMemory } from '../../src/transports/memory/index.js';
import type { Driver } from '../../src/transports/virtual/driver.js';
import { defineVirtualTransport } from '../../src/transports/virtual/index.js';
import { deferred } from '../../src/util/deferred.js';

let brokers = 0;

/** The name of a broker that nobody else uses; it is gone after the test. */
export function freshBroker(): string {
  const name = `test-${++brokers}`;
  onTestFinished(() => resetMemory(name));
  return name;
}

export function parametersOf(name: string, options: Partial<ConnectionParameters> = {}): ConnectionParameters {
  return {
    transport: 'memory',
    hostname: name,
    port: undefined,
    userid: undefined,
    password: undefined,
    virtualHost: undefined,
    ssl: false,
    connectTimeout: 5000,
    heartbeat: 0,
    loginMethod: undefined,
    transportOptions: {},
    ...options,
  };
}

export function moduleOf(createDriver: () => Driver): TransportModule {
  return defineVirtualTransport({ name: 'double', createDriver });
}

export const memoryModule = (options?: MemoryDriverOptions) => moduleOf(() => new MemoryDriver(options));

export interface Opened {
  readonly transport: Transport;
  readonly connection: TransportConnection;
  readonly problems: MessagingError[];
  /** Resolves when the incarnation ended, with why. */
  readonly closed: Promise<MessagingError | undefined>;
  channel(): Promise<TestChannel>;
}

export interface TestChannel {
  readonly channel: TransportChannel;
  readonly returned: Returned[];
  readonly closed: Promise<MessagingError | undefined>;
}

export interface Opening extends Partial<Omit<ConnectionParameters, 'transport'>> {
  readonly broker: string;
  readonly module?: TransportModule;
  /** Open again what was lost. */
  readonly transport?: Transport;
}

/** Opens an incarnation. What it made is disposed of when the test is over. */
export async function open(opening: Opening): Promise<Opened> {
  const { broker, module = memoryModule(), transport = module.createTransport(), ...parameters } = opening;
  const problems: MessagingError[] = [];
  const closed = deferred<MessagingError | undefined>();
  const connection = await transport.open(parametersOf(broker, parameters), {
    onClose: closed.resolve,
    onBlocked: () => {},
    onUnblocked: () => {},
    onProblem: (error) => problems.push(error),
  });
  onTestFinished(async () => {
    await connection.close({ timeout: 1000 });
    await transport.dispose();
  });
  return { transport, connection, problems, closed: closed.promise, channel: () => openChannel(connection) };
}

export async function openChannel(connection: TransportConnection): Promise<TestChannel> {
  const returned: Returned[] = [];
  const closed = deferred<MessagingError | undefined>();
  const channel = await connection.openChannel('consume', {
    onClose: closed.resolve,
    onReturned: (message) => returned.push(message),
  });
  return { channel, returned, closed: closed.promise };
}

/** One channel on a broker of its own. */
export async function oneChannel(
  module?: TransportModule,
): Promise<TestChannel & { readonly broker: string; readonly opened: Opened }> {
  const broker = freshBroker();
  const opened = await open(module === undefined ? { broker } : { broker, module });
  return { ...(await opened.channel()), broker, opened };
}

type Publishing = Partial<Omit<OutgoingMessage, 'body' | 'properties'>> & OutgoingMessage['properties'];

/** A message whose body is `text`, to the default exchange unless told otherwise. */
export function message(text: string, options: Publishing = {}): OutgoingMessage {
  const { exchange = '', routingKey = '', unroutable = 'reject', notBefore, transaction, ...properties } = options;
  return { exchange, routingKey, body: Buffer.from(text), properties, unroutable, notBefore, transaction };
}

export function publish(channel: TransportChannel, text: string, options: Publishing = {}): Promise<void> {
  return channel.publish(message(text, options), 'confirmed');
}

export const textOf = ({ body }: { readonly body: Uint8Array }): string => Buffer.from(body).toString();

/** What a consumer got, in order. */
export class Inbox {
  readonly deliveries: Delivery[] = [];
  cancelled: MessagingError | undefined;
  readonly #waiters: { readonly enough: () => boolean; readonly resolve: () => void }[] = [];
  onDelivery: (delivery: Delivery) => void = () => {};

  readonly sink = {
    onDelivery: (delivery: Delivery) => {
      this.deliveries.push(delivery);
      this.onDelivery(delivery);
      this.#wake();
    },
    onCancel: (error: MessagingError) => {
      this.cancelled = error;
      this.#wake();
    },
  };

  get texts(): string[] {
    return this.deliveries.map(textOf);
  }

  /** Resolves when at least so many have come. */
  async count(n: number): Promise<readonly Delivery[]> {
    await this.#until(() => this.deliveries.length >= n);
    return this.deliveries;
  }

  async cancellation(): Promise<MessagingError> {
    await this.#until(() => this.cancelled !== undefined);
    return this.cancelled as MessagingError;
  }

  #until(enough: () => boolean): Promise<void> {
    return enough() ? Promise.resolve() : new Promise((resolve) => this.#waiters.push({ enough, resolve }));
  }

  #wake(): void {
    for (const waiter of [...this.#waiters]) {
      if (!waiter.enough()) continue;
      this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
      waiter.resolve();
    }
  }
}

let tags = 0;

/** Starts a consumer; its messages go to the inbox. */
export async function consume(
  channel: TransportChannel,
  queue: string,
  options: Partial<ConsumeOptions> & { readonly onDelivery?: (delivery: Delivery) => void } = {},
): Promise<Inbox & { readonly tag: string }> {
  const { onDelivery, consumerTag = `tag-${++tags}`, ...rest } = options;
  const inbox = new Inbox();
  if (onDelivery !== undefined) inbox.onDelivery = onDelivery;
  const tag = await channel.consume(queue, { consumerTag, ...rest }, inbox.sink);
  return Object.assign(inbox, { tag });
}

// As it was before a test took over the clock.
const { setImmediate } = globalThis;

/** Lets everything happen that needs no clock: for saying that something did not. */
export async function settled(turns = 5): Promise<void> {
  for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** The bodies of what `get` finds, acknowledged, until there is nothing. */
export async function drain(channel: TransportChannel, queue: string): Promise<string[]> {
  const texts: string[] = [];
  for (;;) {
    const delivery = await channel.get(queue, { noAck: true });
    if (delivery === undefined) return texts;
    texts.push(textOf(delivery));
  }
}
