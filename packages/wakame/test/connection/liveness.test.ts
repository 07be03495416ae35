/**
 * The rule of liveness under any schedule of faults: while the connection is open, every consumer is consuming or being brought back; and
 * once the faults end, each consumes exactly once, and every publish has its outcome.
 */
import { describe, expect } from 'vitest';
import { fuzz, pick, type Random } from '../../../amqp/test/support/fuzz.js';
import { Connection } from '../../src/connection/index.js';
import { Exchange, Queue } from '../../src/entities/index.js';
import {
  AccessRefused,
  ConsumerCancelled,
  type MessagingError,
  PreconditionFailed,
  RecoverableConnectionError,
  ResourceLocked,
} from '../../src/errors.js';
import { Consumer, Producer } from '../../src/messaging/index.js';
import { FakeBroker, turn } from '../support/fake-transport.js';

const NAMES = ['a', 'b', 'c', 'd'];
const OPERATIONS = [
  'open',
  'openChannel',
  'exchangeDeclare',
  'queueDeclare',
  'queueBind',
  'checkQueue',
  'qos',
  'consume',
  'cancel',
  'publish',
];

interface Step {
  readonly fault: 'kill' | 'channel' | 'cancel' | 'delete' | 'refuse' | 'hang' | 'publish' | 'restart' | 'none';
  readonly name: string;
  readonly operation: string;
  readonly error: number;
  readonly times: number;
  /** Turns of the event loop before the next. */
  readonly turns: number;
}

const ERRORS: readonly (() => MessagingError)[] = [
  () => new RecoverableConnectionError('lost'),
  () => new AccessRefused('not now'),
  () => new PreconditionFailed('not so'),
  () => new ResourceLocked('not yet'),
];

function schedule(random: Random): Step[] {
  return Array.from({ length: 1 + random(25) }, () => ({
    fault: pick(random, [
      'kill',
      'channel',
      'cancel',
      'delete',
      'refuse',
      'refuse',
      'hang',
      'publish',
      'publish',
      'restart',
      'none',
    ]),
    name: pick(random, NAMES),
    operation: pick(random, OPERATIONS),
    error: random(ERRORS.length),
    times: 1 + random(3),
    turns: random(30),
  }));
}

class World {
  readonly broker = new FakeBroker();
  readonly connection: Connection;
  readonly producer: Producer;
  readonly consumers = new Map<string, Consumer>();
  readonly outcomes: Promise<unknown>[] = [];

  constructor() {
    const transportOptions = { intervalStart: 1, intervalStep: 0, readTimeout: 300 };
    this.connection = new Connection('fake://one', this.broker.options({ transportOptions }));
    this.connection.on('problem', () => {});
    this.producer = new Producer(this.connection);
  }

  async begin(): Promise<void> {
    for (const name of NAMES) {
      const queue = new Queue(name, { exchange: new Exchange('e', { type: 'topic' }), routingKey: name });
      const consumer = new Consumer(this.connection, { queues: queue, onMessage: () => undefined });
      consumer.on('cancelled', () => {});
      await consumer.consume();
      this.consumers.set(name, consumer);
    }
  }

  async take({ fault, name, operation, error, times }: Step): Promise<void> {
    const { broker } = this;
    const make = ERRORS[error] as () => MessagingError;
    switch (fault) {
      case 'kill':
        broker.kill();
        break;
      case 'channel':
        for (const { channel } of broker.consumersOf(name)) channel.end(make());
        break;
      case 'delete':
      case 'cancel':
        broker.cancelConsumers(name, new ConsumerCancelled('gone'));
        if (fault === 'delete') broker.deleteQueue(name);
        break;
      case 'refuse':
        broker.refuse(operation, make, times);
        break;
      case 'hang':
        // A try to connect that hangs has a deadline of seconds.
        if (operation !== 'open') broker.hang(operation);
        break;
      case 'publish':
        this.outcomes.push(this.producer.publish('x', { routingKey: name, timeout: 2000 }).catch((reason) => reason));
        break;
      case 'restart': {
        const consumer = this.consumers.get(name);
        await Promise.race([consumer?.cancel(), turn()]);
        break;
      }
      case 'none':
    }
  }

  /** At any time. */
  check(): void {
    expect(this.connection.subscriptions.filter(({ state }) => state === 'forgotten')).toEqual([]);
  }

  isWhole(): boolean {
    return NAMES.every((name) => this.broker.consumersOf(name).length === 1) && this.isConsuming();
  }

  isConsuming(): boolean {
    const { connected, subscriptions } = this.connection;
    return (
      connected && subscriptions.length === NAMES.length && subscriptions.every(({ state }) => state === 'consuming')
    );
  }

  describe(): string {
    const consumers = NAMES.map((name) => [name, this.broker.consumersOf(name).length]);
    return JSON.stringify({ state: this.connection.state, subscriptions: this.connection.subscriptions, consumers });
  }
}

describe('any schedule of faults', () => {
  fuzz(
    'leaves every consumer consuming, and every publish settled',
    (random) => Array.from({ length: 8 }, () => schedule(random)),
    async (schedules) => {
      await Promise.all(schedules.map(run));
    },
    (schedules) => schedules.map((steps) => JSON.stringify(steps)).join('\n\n'),
  );

  async function run(steps: readonly Step[]): Promise<void> {
    const world = new World();
    try {
      await world.begin();
      for (const step of steps) {
        await world.take(step);
        for (let turns = 0; turns < step.turns; turns++) {
          await turn();
          world.check();
        }
      }
      world.broker.rules.clear();
      // Those that the application stopped: a new start, or, where it is not over yet, the old one, stopped by it.
      for (const consumer of world.consumers.values()) {
        await consumer.cancel();
        // What is left of the faults may still cost a request its answer.
        await consumer.consume().catch((error: MessagingError) => {
          if (error.code !== 'TIMEOUT') throw error;
          return consumer.consume({ timeout: 10_000 });
        });
      }
      for (const end = performance.now() + 15_000; !world.isWhole(); ) {
        if (performance.now() > end)
          throw new Error(
            `not whole: ${world.describe()}\n${JSON.stringify(steps)}\n${world.broker.log.slice(-60).join('\n')}`,
          );
        await new Promise((resolve) => setTimeout(resolve, 2));
        world.check();
      }
      for (const outcome of await Promise.all(world.outcomes)) {
        if (outcome instanceof Error)
          expect(outcome).toMatchObject({ outcome: expect.stringMatching(/not-sent|refused|unknown/) });
      }
    } finally {
      await world.connection.close({ timeout: 200 });
    }
  }
});
