import { describe, expect, test } from 'vitest';
import {
  type Channel,
  Connection,
  type Consumer,
  type ConsumerFactory,
  ConsumerMixin,
  ConsumerProducerMixin,
  type Message,
  type MessagingError,
  Queue,
  sendReply,
} from 'wakame';
import { memoryBroker } from 'wakame/memory';
import { type Bench, Count, eventually, failure, onEachBroker, payloads, sequence } from '../messaging/support.js';
import { untilConsumers } from './support.js';

/** Notes every hook, and ends itself after so many messages. */
class Worker extends ConsumerMixin {
  readonly steps: string[] = [];
  readonly messages: Message<number>[] = [];
  readonly handled = new Count();
  readonly ready = new Count();
  readonly iterations = new Count();
  readonly revived = new Count();
  readonly queue: Queue<number>;
  stopAfter = Number.POSITIVE_INFINITY;

  constructor(connection: Connection, queue: Queue<number>) {
    super(connection);
    this.queue = queue;
  }

  override getConsumers(
    consumer: ConsumerFactory,
    channel: Channel,
  ): readonly Consumer[] | Promise<readonly Consumer[]> {
    this.steps.push(`getConsumers ${channel.state}`);
    return [consumer(this.queue, { settle: 'auto', onMessage: (message) => this.handle(message) })];
  }

  handle(message: Message<number>): void | Promise<void> {
    this.messages.push(message);
    this.handled.up();
    if (this.messages.length === this.stopAfter) this.shouldStop = true;
  }

  override extraContext(): AsyncDisposable {
    this.steps.push('extraContext');
    return { [Symbol.asyncDispose]: async () => void this.steps.push('disposed') };
  }

  override onConsumeReady(
    _connection: Connection,
    _channel: Channel,
    consumers: readonly Consumer[],
  ): void | Promise<void> {
    this.steps.push(`onConsumeReady ${consumers.map((each) => each.consumingFrom(this.queue.name))}`);
    this.ready.up();
  }

  override onConsumeEnd(_connection: Connection, channel: Channel): void | Promise<void> {
    this.steps.push(`onConsumeEnd ${channel.state !== 'closed'}`);
  }

  override onIteration(): void | Promise<void> {
    this.iterations.up();
  }

  override onConnectionRevived(): void | Promise<void> {
    this.revived.up();
  }
}

function worker(bench: Bench): Worker {
  return new Worker(bench.connection, bench.queue<number>('mixin'));
}

onEachBroker('ConsumerMixin', (bench) => {
  test('hooks in their order; shouldStop ends it after the handler at work', async () => {
    const service = worker(bench);
    service.stopAfter = 3;
    await service.queue.declare();
    await bench.fill(service.queue, 5);
    await service.run();
    expect(payloads(service.messages).slice(0, 3)).toEqual([0, 1, 2]);
    expect(service.steps).toEqual([
      ...['extraContext', 'getConsumers idle', 'onConsumeReady true'],
      ...['disposed', 'onConsumeEnd true'],
    ]);
    expect(bench.connection.connected).toBe(true);
    await untilConsumers(bench, service.queue, 0);
    // What was handled is settled, the rest is still there.
    await bench.untilDepth(service.queue, 5 - service.messages.length);
  });

  test('as long as shouldStop is set, run does nothing; then it runs again', async () => {
    const service = worker(bench);
    service.stopAfter = 1;
    await service.queue.declare();
    await bench.fill(service.queue, 1);
    await service.run();
    await service.run();
    expect(service.steps.filter((step) => step === 'extraContext')).toHaveLength(1);
    service.shouldStop = false;
    service.stopAfter = 2;
    await bench.fill(service.queue, 1);
    await service.run();
    expect(service.messages).toHaveLength(2);
  });

  test('a signal ends it; handlers at work finish first', async () => {
    const service = worker(bench);
    let finish = () => {};
    service.handle = async (message) => {
      service.handled.up();
      await new Promise<void>((resolve) => (finish = resolve));
      service.messages.push(message);
    };
    await service.queue.declare();
    await bench.fill(service.queue, 1);
    const stop = new AbortController();
    const running = service.run({ signal: stop.signal });
    await service.handled.reach(1);
    stop.abort();
    finish();
    await running;
    expect(service.messages.map(({ state }) => state)).toEqual(['ACK']);
    await new Worker(bench.connection, service.queue).run({ signal: stop.signal });
    expect(service.steps.at(-1)).toBe('onConsumeEnd true');
  });

  test('one run at a time', async () => {
    const service = worker(bench);
    const running = service.run();
    expect(await failure(service.run())).toMatchObject({ code: 'CONSUMER_BUSY' });
    await service.ready.reach(1);
    service.shouldStop = true;
    await running;
  });

  test('onIteration: at once, and again', async () => {
    const service = worker(bench);
    const running = service.run();
    await service.iterations.reach(2);
    service.shouldStop = true;
    await running;
    expect(service.steps.indexOf('onConsumeReady true')).toBeGreaterThan(0);
  });

  test('after a loss: consumers are back, onConnectionRevived; getConsumers once', async () => {
    const service = worker(bench);
    const running = service.run();
    await service.ready.reach(1);
    await bench.drop();
    await service.revived.reach(1);
    await bench.fill(service.queue, 1);
    await service.handled.reach(1);
    service.shouldStop = true;
    await running;
    expect(service.steps.filter((step) => step.startsWith('getConsumers'))).toHaveLength(1);
    expect(service.revived.value).toBe(1);
  });

  test.each([...(['getConsumers', 'extraContext', 'onConsumeReady', 'onIteration', 'onConsumeEnd'] as const)])(
    'what %s throws ends the run in good order',
    async (hook) => {
      for (const isAsync of [false, true]) {
        const service = worker(bench);
        const error = new Error(`no ${hook}`);
        service[hook] = (() => {
          if (isAsync) return Promise.reject(error);
          throw error;
        }) as never;
        // This one is only called at the end.
        if (hook === 'onConsumeEnd') {
          service.onIteration = () => {
            service.shouldStop = true;
          };
        }
        expect(await failure(service.run())).toBe(error);
        const hasContext = hook !== 'extraContext';
        expect(service.steps.includes('disposed')).toBe(hasContext);
        await service.queue.declare();
        await untilConsumers(bench, service.queue, 0);
      }
    },
  );

  test('what onConnectionRevived throws ends the run', async () => {
    const service = worker(bench);
    const error = new Error('not again');
    service.onConnectionRevived = () => {
      throw error;
    };
    const running = failure(service.run());
    await service.ready.reach(1);
    await bench.drop();
    expect(await running).toBe(error);
    expect(service.steps.slice(-2)).toEqual(['disposed', 'onConsumeEnd true']);
  });

  test('two failures: the first is rejected with, the other is a problem', async () => {
    const service = worker(bench);
    service.onConsumeReady = () => {
      throw new Error('first');
    };
    service.onConsumeEnd = () => Promise.reject(new Error('second'));
    expect(await failure(service.run())).toMatchObject({ message: 'first' });
    expect(bench.problems.map(({ message }) => message)).toEqual(['second']);
  });

  test('a consumer that is refused ends the run', async () => {
    const service = new Worker(bench.connection, new Queue<number>(bench.name('absent'), { noDeclare: true }));
    expect(await failure(service.run())).toMatchObject({ code: 'NOT_FOUND' });
    expect(service.steps).toEqual(['extraContext', 'getConsumers idle', 'disposed', 'onConsumeEnd true']);
  });

  test('closing the connection ends the run', async () => {
    const service = worker(bench);
    const running = failure(service.run());
    await service.ready.reach(1);
    await bench.connection.close();
    expect(await running).toMatchObject({ code: 'CONNECTION_CLOSED' });
    expect(service.steps.slice(-2)).toEqual(['disposed', 'onConsumeEnd false']);
  });

  test('onDecodeError decides, and may settle', async () => {
    const service = worker(bench);
    const seen: string[] = [];
    const decided = new Count();
    service.onDecodeError = async (message, error) => {
      await message.ack();
      seen.push(`${error.code} ${message.contentType}`);
      decided.up();
    };
    const running = service.run();
    await service.ready.reach(1);
    await bench.producer().publish('a: 1', { routingKey: service.queue.name, contentType: 'application/x-yaml' });
    await decided.reach(1);
    service.shouldStop = true;
    await running;
    expect(seen).toEqual(['CONTENT_DISALLOWED application/x-yaml']);
  });

  test('listeners are gone after the run', async () => {
    const service = worker(bench);
    const count = () =>
      (['disconnected', 'recovered', 'closed'] as const).map((name) => bench.connection.listenerCount(name));
    const before = count();
    const running = service.run();
    await service.ready.reach(1);
    service.shouldStop = true;
    await running;
    expect(count()).toEqual(before);
  });
});

onEachBroker('ConsumerProducerMixin', (bench) => {
  test('handlers publish, over a connection of their own, closed when the run ends', async () => {
    const requests = bench.queue<number>('requests');
    const replies = bench.queue<number>('replies');
    class Doubler extends ConsumerProducerMixin {
      used: Connection | undefined;

      getConsumers(consumer: ConsumerFactory) {
        this.used = this.producerConnection;
        const onMessage = (message: Message<number>) => sendReply(message, message.payload * 2, this.producer);
        return [consumer(requests, { settle: 'auto', onMessage })];
      }
    }
    await replies.declare();
    const service = new Doubler(bench.connection);
    const running = service.run();
    const producer = bench.producer({ routingKey: requests.name });
    for (const n of sequence(3)) await producer.publish(n, { declare: [requests], replyTo: replies });
    await bench.untilDepth(replies, 3);
    expect([service.used === bench.connection, service.used?.connected]).toEqual([false, true]);
    service.shouldStop = true;
    await running;
    expect([service.used?.state, bench.connection.state]).toEqual(['closed', 'open']);
    expect(payloads(await bench.drain(replies))).toEqual([0, 2, 4]);
  });
});

describe('connecting', () => {
  class Service extends ConsumerMixin {
    readonly errors: (readonly [string, number])[] = [];
    readonly failed = new Count();
    readonly ready = new Count();

    getConsumers(consumer: ConsumerFactory) {
      return [consumer(new Queue('q'))];
    }

    override onConsumeReady(): void {
      this.ready.up();
    }

    override onConnectionError(error: MessagingError, interval: number): void {
      this.errors.push([error.code, interval]);
      this.failed.up();
    }
  }

  test('onConnectionError hears of each failed try, at first and after a loss', async () => {
    const broker = memoryBroker('mixin-connecting');
    broker.stop();
    await using connection = new Connection('memory://mixin-connecting');
    const service = new Service(connection);
    const running = service.run();
    await service.failed.reach(2);
    expect(service.errors[0]?.[0]).toBe('CONNECT_FAILED');
    expect(service.errors[0]?.[1]).toBeGreaterThanOrEqual(0);
    broker.start();
    await service.ready.reach(1);
    const before = service.failed.value;
    const recovered = new Promise((resolve) => connection.once('recovered', resolve));
    broker.stop();
    await service.failed.reach(before + 2);
    broker.start();
    await recovered;
    service.shouldStop = true;
    await running;
  });

  test('connectMaxRetries', async () => {
    const broker = memoryBroker('mixin-retries');
    await using connection = new Connection('memory://mixin-retries');
    const service = new Service(connection);
    service.connectMaxRetries = 1;
    broker.stop();
    expect(await failure(service.run())).toMatchObject({ code: 'CONNECT_FAILED' });
    expect(service.failed.value).toBe(1);
    broker.start();
    const running = failure(service.run());
    await service.ready.reach(1);
    broker.stop();
    expect(await running).toMatchObject({ code: 'CONNECT_FAILED' });
  });

  test.each(['shouldStop', 'signal'] as const)('%s ends a run that is still connecting', async (how) => {
    const broker = memoryBroker('mixin-stop');
    broker.stop();
    await using connection = new Connection('memory://mixin-stop');
    const service = new Service(connection);
    const stop = new AbortController();
    const running = service.run({ signal: stop.signal });
    await service.failed.reach(1);
    if (how === 'signal') stop.abort();
    else service.shouldStop = true;
    await running;
    expect(service.ready.value).toBe(0);
  });

  test('what onConnectionError throws ends the run', async () => {
    const broker = memoryBroker('mixin-throws');
    broker.stop();
    await using connection = new Connection('memory://mixin-throws');
    const service = new Service(connection);
    service.onConnectionError = () => {
      throw new Error('enough');
    };
    expect(await failure(service.run())).toMatchObject({ message: 'enough' });
  });
});

describe.runIf(process.env.WAKAME_TEST_RABBITMQ_URL)('credentials', () => {
  test('wrong ones reject at once, however often it may retry', async () => {
    const url = new URL(process.env.WAKAME_TEST_RABBITMQ_URL ?? '');
    url.password = 'wrong';
    await using connection = new Connection(url.href);
    class Service extends ConsumerMixin {
      getConsumers = () => [];
    }
    expect(await failure(new Service(connection).run())).toMatchObject({ code: 'AUTH_FAILED' });
  });
});

describe('a queue that is gone for good', () => {
  test('ends the run with the reason when the consumer has no other', { timeout: 30_000 }, async () => {
    await using owner = new Connection('memory://mixin-gone');
    await using connection = new Connection('memory://mixin-gone');
    const problems: MessagingError[] = [];
    connection.on('problem', (error) => problems.push(error));
    class Service extends ConsumerMixin {
      readonly ready = new Count();
      readonly queues: readonly string[];

      constructor(queues: readonly string[]) {
        super(connection);
        this.queues = queues;
      }

      getConsumers(consumer: ConsumerFactory) {
        return [consumer(this.queues, { onMessage: () => undefined })];
      }

      override onConsumeReady(): void {
        this.ready.up();
      }
    }
    for (const queue of ['theirs', 'kept']) await owner.channel().queueDeclare(queue);
    const services = [new Service(['theirs']), new Service(['theirs', 'kept'])] as const;
    const [alone, both] = services.map((service) => service.run());
    const ended = failure(alone as Promise<void>);
    await Promise.all(services.map((service) => service.ready.reach(1)));
    await owner.channel().queueDelete('theirs');
    expect((await ended).code).toMatch(/CONSUMER_CANCELLED|NOT_FOUND/);
    // That of the other one, and that both were interrupted, is no secret.
    await eventually('three problems', () => problems.length >= 3);
    services[1].shouldStop = true;
    await both;
  });
});
