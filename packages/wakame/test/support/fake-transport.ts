/**
 * A transport whose broker is a script: it keeps exchanges, queues and consumers, logs every request, and fails when and how
 * the test says. One request of a channel is answered per turn of the event loop, so that requests do overlap.
 */
import type { Connection, ConnectionOptions } from '../../src/connection/index.js';
import {
  ChannelError,
  ConnectionClosedError,
  ConnectionError,
  type MessagingError,
  NotFound,
  NotSupportedError,
  PreconditionFailed,
  RecoverableConnectionError,
} from '../../src/errors.js';
import type {
  ChannelEvents,
  ChannelRole,
  ConnectionEvents,
  ConnectionParameters,
  ConsumeOptions,
  Delivery,
  DeliverySink,
  DeliveryTag,
  ExchangeBinding,
  ExchangeDeclareOptions,
  OpenOptions,
  OutgoingMessage,
  PublishMode,
  QueueBinding,
  QueueDeclareOk,
  QueueDeclareOptions,
  Receipt,
  Transport,
  TransportChannel,
  TransportConnection,
  TransportFeatures,
  TransportModule,
} from '../../src/transport/contract.js';

/** Decides about a request before it is carried out: throw to refuse it; return a promise to hold it up. */
export type Rule = (request: Request) => unknown;

export interface Request {
  /** `queueDeclare`, `consume`, `openChannel`, `open` … */
  readonly operation: string;
  /** Its first argument, usually a name. */
  readonly name: string;
  readonly connection: FakeConnection | undefined;
  readonly channel: FakeChannel | undefined;
}

interface FakeQueue {
  readonly name: string;
  readonly options: QueueDeclareOptions;
  readonly owner: FakeConnection | undefined;
  readonly messages: OutgoingMessage[];
}

const FEATURES: TransportFeatures = {
  exchangeTypes: new Set(['direct', 'topic', 'fanout', 'headers']),
  heartbeats: true,
  reportsUnroutable: false,
  deliveriesOutliveConnection: false,
  requeuePosition: 'original',
  priority: 'none',
  messageTtl: false,
  queueTtl: false,
  maxLength: false,
  maxLengthBytes: false,
  deadLetter: false,
  delay: false,
  exclusive: true,
  autoDelete: true,
  exchangeBindings: true,
  alternateExchange: false,
  multipleAck: true,
  recover: true,
  persistent: false,
  multiProcess: false,
  maxMessageBytes: undefined,
};

export class FakeBroker {
  /** Every request, in order: `queueDeclare tasks`. */
  readonly log: string[] = [];
  /** Parameters of every try to connect. */
  readonly tries: ConnectionParameters[] = [];
  readonly connections = new Set<FakeConnection>();
  readonly exchanges = new Map<string, string>();
  readonly queues = new Map<string, FakeQueue>();
  readonly bindings = new Set<string>();
  readonly secrets: string[] = [];
  disposed = 0;
  /** Every request passes all of them. */
  readonly rules = new Set<Rule>();
  #names = 0;
  readonly #waiting = new Set<() => void>();

  /** The transport to give to a Connection. */
  get module(): TransportModule {
    return {
      createTransport: () => this.#createTransport(),
      defaultPort: 1234,
      transportOptions: new Set(['read_timeout', 'colour', 'patience']),
      durationOptions: new Set(['read_timeout', 'patience']),
      ignoredOptions: { insistence: 'it is pointless' },
    };
  }

  options(options: ConnectionOptions = {}): ConnectionOptions {
    return { transport: this.module, ...options };
  }

  /** Adds a rule for one operation. Returns how to remove it. */
  rule(operation: string, rule: Rule): () => void {
    const own: Rule = (request) => (request.operation === operation ? rule(request) : undefined);
    this.rules.add(own);
    return () => this.rules.delete(own);
  }

  /** Refuses an operation the next `times` times. */
  refuse(operation: string, error: () => Error, times = 1): void {
    let left = times;
    const remove = this.rule(operation, () => {
      left--;
      if (left === 0) remove();
      throw error();
    });
  }

  /** Never answers the next request of this kind. */
  hang(operation: string): void {
    const remove = this.rule(operation, () => {
      remove();
      return new Promise(() => {
        // For ever.
      });
    });
  }

  /** All connections are lost. */
  kill(error: MessagingError = new RecoverableConnectionError('the broker went away')): void {
    for (const connection of [...this.connections]) connection.lose(error);
  }

  /** Ends the consumers of a queue, as when it is deleted. */
  cancelConsumers(queue: string, error: MessagingError): void {
    for (const consumer of this.consumersOf(queue)) consumer.channel.cancelled(consumer.tag, error);
  }

  deleteQueue(queue: string): void {
    this.queues.delete(queue);
    for (const binding of this.bindings) if (binding.endsWith(`>${queue}`)) this.bindings.delete(binding);
  }

  consumersOf(queue: string): { readonly tag: string; readonly channel: FakeChannel }[] {
    return [...this.connections]
      .flatMap((connection) => [...connection.channels])
      .flatMap((channel) =>
        [...channel.consumers].filter(([, it]) => it.queue === queue).map(([tag]) => ({ tag, channel })),
      );
  }

  /** Delivers a message to the first consumer of a queue. */
  deliver(queue: string, body: string): void {
    const [consumer] = this.consumersOf(queue);
    if (consumer === undefined) throw new Error(`nobody consumes ${queue}`);
    consumer.channel.deliver(consumer.tag, body);
  }

  /** Resolves once the condition holds; it is looked at after each request and event. */
  async until(condition: () => boolean, what = String(condition)): Promise<void> {
    const end = performance.now() + 10_000;
    while (!condition()) {
      if (performance.now() > end) throw new Error(`never: ${what}\n${this.log.join('\n')}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(done, 20);
        const waiting = this.#waiting;
        function done() {
          clearTimeout(timer);
          waiting.delete(done);
          resolve();
        }
        waiting.add(done);
      });
    }
  }

  count(entry: string): number {
    return this.log.filter((line) => line === entry).length;
  }

  newName(): string {
    this.#names++;
    return `amq.gen-${this.#names}`;
  }

  /** Logs a request and lets the rules decide. */
  async judge(request: Request): Promise<void> {
    this.log.push(request.name === '' ? request.operation : `${request.operation} ${request.name}`);
    this.changed();
    for (const rule of [...this.rules]) await rule(request);
  }

  changed(): void {
    for (const look of [...this.#waiting]) look();
  }

  #createTransport(): Transport {
    return {
      name: 'fake',
      features: FEATURES,
      open: async (parameters, events, options) => {
        this.tries.push(parameters);
        await turn();
        const judged = this.judge({
          operation: 'open',
          name: parameters.hostname ?? '',
          connection: undefined,
          channel: undefined,
        });
        await abortable(judged, options);
        const connection = new FakeConnection(this, parameters, events);
        this.connections.add(connection);
        return connection;
      },
      dispose: async () => {
        this.disposed++;
      },
    };
  }
}

export class FakeConnection implements TransportConnection {
  readonly broker: FakeBroker;
  readonly parameters: ConnectionParameters;
  readonly channels = new Set<FakeChannel>();
  readonly serverProperties = {};
  readonly heartbeat = 0;
  readonly events: ConnectionEvents;
  state: 'open' | 'closing' | 'closed' = 'open';
  #ids = 0;

  constructor(broker: FakeBroker, parameters: ConnectionParameters, events: ConnectionEvents) {
    this.broker = broker;
    this.parameters = parameters;
    this.events = events;
  }

  async openChannel(role: ChannelRole, events: ChannelEvents, options?: OpenOptions): Promise<TransportChannel> {
    this.#ids++;
    const channel = new FakeChannel(this, this.#ids, role, events);
    await turn();
    await abortable(
      this.broker.judge({ operation: 'openChannel', name: role, connection: this, channel: undefined }),
      options,
    );
    if (this.state !== 'open') throw new RecoverableConnectionError('the connection is closed');
    this.channels.add(channel);
    return channel;
  }

  async updateSecret(secret: string): Promise<void> {
    await this.broker.judge({ operation: 'updateSecret', name: '', connection: this, channel: undefined });
    this.broker.secrets.push(secret);
  }

  async close(): Promise<void> {
    if (this.state !== 'open') return;
    this.broker.log.push('close connection');
    this.#end(undefined);
  }

  abort(error: MessagingError): void {
    this.lose(error);
  }

  /** The connection ends. Channels are told first, each event in a turn of its own. */
  lose(error: MessagingError): void {
    this.#end(error);
  }

  #end(error: MessagingError | undefined): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.broker.connections.delete(this);
    for (const queue of [...this.broker.queues.values()]) {
      if (queue.owner === this) this.broker.deleteQueue(queue.name);
    }
    for (const channel of [...this.channels]) channel.end(error);
    setImmediate(() => {
      this.events.onClose(error);
      this.broker.changed();
    });
  }
}

interface Pending {
  readonly reject: (error: unknown) => void;
  /** It is the one to blame for what happens. */
  isJudged: boolean;
}

export class FakeChannel implements TransportChannel {
  readonly connection: FakeConnection;
  readonly id: number;
  readonly role: ChannelRole;
  readonly events: ChannelEvents;
  readonly consumers = new Map<string, { queue: string; sink: DeliverySink; options: ConsumeOptions }>();
  readonly settled: string[] = [];
  readonly bufferedBytes = 0;
  prefetch: number | undefined;
  state: 'open' | 'closing' | 'closed' = 'open';
  readonly #pending = new Set<Pending>();
  #endedWith: MessagingError | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #tags = 0;

  constructor(connection: FakeConnection, id: number, role: ChannelRole, events: ChannelEvents) {
    this.connection = connection;
    this.id = id;
    this.role = role;
    this.events = events;
  }

  get broker(): FakeBroker {
    return this.connection.broker;
  }

  exchangeDeclare(exchange: string, type: string, options: ExchangeDeclareOptions = {}): Promise<void> {
    return this.#request('exchangeDeclare', exchange, () => {
      const existing = this.broker.exchanges.get(exchange);
      if (options.passive === true && existing === undefined) throw new NotFound(`no exchange '${exchange}'`);
      if (existing !== undefined && existing !== type)
        throw new PreconditionFailed(`exchange '${exchange}' is different`);
      this.broker.exchanges.set(exchange, type);
    });
  }

  exchangeDelete(exchange: string): Promise<void> {
    return this.#request('exchangeDelete', exchange, () => void this.broker.exchanges.delete(exchange));
  }

  exchangeBind(binding: ExchangeBinding): Promise<void> {
    const key = `${binding.source}-${binding.routingKey}->${binding.destination}`;
    return this.#request('exchangeBind', key, () => void this.broker.bindings.add(key));
  }

  exchangeUnbind(binding: ExchangeBinding): Promise<void> {
    const key = `${binding.source}-${binding.routingKey}->${binding.destination}`;
    return this.#request('exchangeUnbind', key, () => void this.broker.bindings.delete(key));
  }

  queueDeclare(queue: string, options: QueueDeclareOptions = {}): Promise<QueueDeclareOk> {
    return this.#request(options.passive === true ? 'checkQueue' : 'queueDeclare', queue, () => {
      const existing = this.broker.queues.get(queue);
      if (options.passive === true && existing === undefined) throw new NotFound(`no queue '${queue}'`);
      if (options.passive !== true && existing !== undefined && !alike(existing.options, options)) {
        throw new PreconditionFailed(`queue '${queue}' is different`);
      }
      const name = queue === '' ? this.broker.newName() : queue;
      const owner = options.exclusive === true ? this.connection : undefined;
      if (existing === undefined) this.broker.queues.set(name, { name, options, owner, messages: [] });
      return { queue: name, messageCount: 0, consumerCount: this.broker.consumersOf(name).length };
    });
  }

  queueBind(binding: QueueBinding): Promise<void> {
    const key = `${binding.exchange}-${binding.routingKey}->${binding.queue}`;
    return this.#request('queueBind', key, () => {
      if (!this.broker.queues.has(binding.queue)) throw new NotFound(`no queue '${binding.queue}'`);
      this.broker.bindings.add(key);
    });
  }

  queueUnbind(binding: QueueBinding): Promise<void> {
    const key = `${binding.exchange}-${binding.routingKey}->${binding.queue}`;
    return this.#request('queueUnbind', key, () => void this.broker.bindings.delete(key));
  }

  queuePurge(queue: string): Promise<number> {
    return this.#request('queuePurge', queue, () => 0);
  }

  queueDelete(queue: string): Promise<number> {
    return this.#request('queueDelete', queue, () => {
      this.broker.deleteQueue(queue);
      return 0;
    });
  }

  publish(message: OutgoingMessage, mode: PublishMode): Promise<void> {
    return this.#request('publish', `${message.exchange}:${message.routingKey} ${mode}`, () => {
      this.broker.queues.get(message.routingKey)?.messages.push(message);
    });
  }

  send(message: OutgoingMessage, receipt: Receipt): void {
    this.publish(message, 'confirmed').then(
      () => receipt.confirmed(),
      (error: MessagingError) => receipt.failed(error),
    );
  }

  pause(): void {}

  resume(): void {}

  consume(queue: string, options: ConsumeOptions, sink: DeliverySink): Promise<string> {
    return this.#request('consume', queue, () => {
      if (!this.broker.queues.has(queue)) throw new NotFound(`no queue '${queue}'`);
      this.consumers.set(options.consumerTag, { queue, sink, options });
      return options.consumerTag;
    });
  }

  cancel(consumerTag: string): Promise<void> {
    return this.#request('cancel', consumerTag, () => void this.consumers.delete(consumerTag));
  }

  get(queue: string): Promise<Delivery | undefined> {
    return this.#request('get', queue, () => {
      const message = this.broker.queues.get(queue)?.messages.shift();
      return message === undefined ? undefined : this.#delivery(Buffer.from(message.body).toString());
    });
  }

  ack(tag: DeliveryTag): boolean {
    if (this.state !== 'open') return false;
    this.settled.push(`ack ${tag}`);
    return true;
  }

  reject(tag: DeliveryTag, { requeue }: { readonly requeue: boolean }): boolean {
    if (this.state !== 'open') return false;
    this.settled.push(`${requeue ? 'requeue' : 'reject'} ${tag}`);
    return true;
  }

  async release(tags: readonly DeliveryTag[]): Promise<void> {
    for (const tag of tags) this.settled.push(`release ${tag}`);
  }

  recover(): Promise<void> {
    return this.#request('recover', '', () => undefined);
  }

  qos({ prefetch, scope }: { readonly prefetch: number; readonly scope: 'consumer' | 'channel' }): Promise<void> {
    return this.#request('qos', `${prefetch} ${scope}`, () => {
      this.prefetch = prefetch;
    });
  }

  flow(): Promise<void> {
    return this.#request('flow', '', () => {
      throw new NotSupportedError('no flow');
    });
  }

  async close(): Promise<void> {
    if (this.state !== 'open') return;
    this.broker.log.push(`close channel`);
    this.end(undefined);
  }

  /** The broker closes the channel. */
  end(error: MessagingError | undefined): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.#endedWith = error;
    this.consumers.clear();
    this.connection.channels.delete(this);
    for (const pending of [...this.#pending]) {
      const reason = error ?? new ConnectionClosedError('the channel was closed');
      pending.reject(pending.isJudged ? reason : collateral(reason));
    }
    setImmediate(() => {
      this.events.onClose(error);
      this.broker.changed();
    });
  }

  deliver(consumerTag: string, body: string): void {
    this.consumers.get(consumerTag)?.sink.onDelivery({ ...this.#delivery(body), consumerTag });
  }

  cancelled(consumerTag: string, error: MessagingError): void {
    const consumer = this.consumers.get(consumerTag);
    this.consumers.delete(consumerTag);
    setImmediate(() => consumer?.sink.onCancel(error));
  }

  #delivery(body: string): Delivery {
    this.#tags++;
    return {
      body: Buffer.from(body),
      properties: {},
      exchange: '',
      routingKey: '',
      redelivered: false,
      deliveryTag: this.#tags,
    };
  }

  /** Requests of a channel are carried out one after another. An AMQP error of one closes the channel. */
  #request<T>(operation: string, name: string, carryOut: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.state !== 'open') {
        reject(new RecoverableConnectionError('the channel is closed'));
        return;
      }
      const pending: Pending = { reject, isJudged: false };
      this.#pending.add(pending);
      const before = this.#last;
      this.#last = (async () => {
        await before;
        await turn();
        if (this.state !== 'open') return;
        pending.isJudged = true;
        try {
          await this.broker.judge({ operation, name, connection: this.connection, channel: this });
          if (this.state !== 'open') throw this.#endedWith ?? new ConnectionClosedError('the channel was closed');
          resolve(carryOut());
        } catch (error) {
          pending.reject(error);
          if (!(error instanceof NotSupportedError)) this.end(error as MessagingError);
        } finally {
          this.#pending.delete(pending);
        }
        this.broker.changed();
      })();
    });
  }
}

/** What a request rejects with that was under way when another one met `error`. */
function collateral(error: MessagingError): MessagingError {
  if (!(error instanceof ConnectionError))
    return new ChannelError('another request closed the channel', { cause: error });
  return error.recoverable ? error : new RecoverableConnectionError('another request', { cause: error });
}

/** Resolves in the next turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function alike(a: QueueDeclareOptions, b: QueueDeclareOptions): boolean {
  return JSON.stringify(a.arguments ?? {}) === JSON.stringify(b.arguments ?? {}) && a.durable === b.durable;
}

async function abortable(work: Promise<void>, options?: OpenOptions): Promise<void> {
  const signal = options?.signal;
  if (signal === undefined) return work;
  await Promise.race([
    work,
    new Promise<never>((_, reject) => {
      const abort = () => reject(signal.reason);
      if (signal.aborted) abort();
      else signal.addEventListener('abort', abort, { once: true });
    }),
  ]);
}

/** For tests that hold a connection: closes it whatever happens. */
export async function using<C extends Pick<Connection, 'close'>>(
  connection: C,
  test: (connection: C) => Promise<void>,
): Promise<void> {
  try {
    await test(connection);
  } finally {
    await connection.close({ timeout: 1000 });
  }
}
