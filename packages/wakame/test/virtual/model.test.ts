/**
 * Random programs on a channel over memory, checked step by step against a model that knows nothing of drivers, feeds or ledgers: lists of
 * messages. Which of several consumers gets a message is left open; everything else is exact.
 */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Delivery, DeliveryTag, TransportChannel } from '../../src/transport/contract.js';
import { memoryModule, oneChannel, publish, settled, textOf } from './harness.js';

const QUEUES = ['plain', 'prio', 'limited', 'tiring', 'pushed out', 'tired'] as const;
type QueueName = (typeof QUEUES)[number];
const ARGUMENTS: Record<QueueName, Record<string, unknown>> = {
  plain: {},
  prio: { 'x-max-priority': 2 },
  limited: {
    'x-max-length': 3,
    'x-dead-letter-exchange': '',
    'x-dead-letter-routing-key': 'pushed out',
  },
  tiring: { 'x-delivery-limit': 2, 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'tired' },
  'pushed out': {},
  tired: {},
};
const LIMIT = 3;

interface ModelMessage {
  readonly text: string;
  readonly priority: number;
  readonly seq: number;
  returns: number;
}

interface ModelConsumer {
  readonly queue: QueueName;
  readonly prefetch: number;
  readonly noAck: boolean;
  unsettled: number;
}

interface ModelDelivery {
  readonly queue: QueueName;
  readonly message: ModelMessage;
  readonly consumer: ModelConsumer | undefined;
}

class Model {
  readonly ready: Record<QueueName, ModelMessage[]> = {
    plain: [],
    prio: [],
    limited: [],
    tiring: [],
    'pushed out': [],
    tired: [],
  };
  /** In the order of delivery. */
  unsettled: ModelDelivery[] = [];
  readonly consumers = new Map<string, ModelConsumer>();
  texts = 0;
  #seq = 0;

  add(queue: QueueName, text: string, priority: number): void {
    const level = queue === 'prio' ? Math.min(priority, 2) : 0;
    this.#put(queue, { text, priority: level, seq: this.#seq++, returns: 0 });
  }

  take(queue: QueueName, consumer: ModelConsumer | undefined, noAck: boolean): ModelMessage | undefined {
    const message = this.ready[queue].shift();
    if (message !== undefined && !noAck) {
      this.unsettled.push({ queue, message, consumer });
      if (consumer !== undefined) consumer.unsettled++;
    }
    return message;
  }

  /** What would be dead-lettered rather than delivered. */
  buryTheTired(queue: QueueName): void {
    while (queue === 'tiring' && (this.ready.tiring[0]?.returns ?? 0) > 2) {
      this.bury('tired', this.ready.tiring.shift() as ModelMessage);
    }
  }

  settle(deliveries: readonly ModelDelivery[], outcome: 'ack' | 'reject' | 'requeue' | 'release'): void {
    this.unsettled = this.unsettled.filter((delivery) => !deliveries.includes(delivery));
    for (const { queue, message, consumer } of deliveries) {
      if (consumer !== undefined) consumer.unsettled--;
      if (outcome === 'requeue') message.returns++;
      if (outcome === 'requeue' || outcome === 'release') this.#put(queue, message);
      if (outcome === 'reject' && queue === 'limited') this.bury('pushed out', message);
      if (outcome === 'reject' && queue === 'tiring') this.bury('tired', message);
    }
  }

  bury(queue: 'pushed out' | 'tired', message: ModelMessage): void {
    this.#put(queue, { text: message.text, priority: 0, seq: this.#seq++, returns: 0 });
  }

  #put(queue: QueueName, message: ModelMessage): void {
    this.ready[queue] = [...this.ready[queue], message].sort((a, b) => b.priority - a.priority || a.seq - b.seq);
    if (queue === 'limited' && this.ready.limited.length > LIMIT)
      this.bury('pushed out', this.ready.limited.shift() as ModelMessage);
  }
}

/** The channel, with what its consumers got and the model has not been told of yet. */
class Real {
  readonly channel: TransportChannel;
  readonly news: { readonly tag: string; readonly delivery: Delivery }[] = [];
  readonly tags = new Map<ModelDelivery, DeliveryTag>();

  constructor(channel: TransportChannel) {
    this.channel = channel;
  }
}

type Command = fc.AsyncCommand<Model, Real>;

/** Lets the deliveries happen that are due, and checks each against the model. */
async function deliver(model: Model, real: Real): Promise<void> {
  await settled(2);
  for (const { tag, delivery } of real.news.splice(0)) {
    buryTheTired(model);
    const consumer = model.consumers.get(tag);
    expect(consumer, `a consumer ${tag} for ${textOf(delivery)}`).toBeDefined();
    const { queue, noAck } = consumer as ModelConsumer;
    expect(hasRoom(consumer as ModelConsumer)).toBe(true);
    const message = model.take(queue, consumer, noAck);
    checkDelivery(delivery, message);
    const made = model.unsettled.at(-1);
    if (!noAck && made !== undefined) real.tags.set(made, delivery.deliveryTag);
  }
  buryTheTired(model);
  for (const consumer of model.consumers.values()) {
    if (!hasRoom(consumer)) continue;
    expect(model.ready[consumer.queue], `nothing left in ${consumer.queue} for a consumer with room`).toEqual([]);
  }
}

const hasRoom = ({ noAck, prefetch, unsettled }: ModelConsumer) => noAck || prefetch === 0 || unsettled < prefetch;

/** Those that failed too often are found out when somebody would get them. */
function buryTheTired(model: Model): void {
  for (const consumer of model.consumers.values()) if (hasRoom(consumer)) model.buryTheTired(consumer.queue);
}

function checkDelivery(delivery: Delivery, message: ModelMessage | undefined): void {
  expect({ text: textOf(delivery), redelivered: delivery.redelivered, deliveryCount: delivery.deliveryCount }).toEqual({
    text: message?.text,
    redelivered: (message?.returns ?? 0) > 0,
    deliveryCount: message?.returns,
  });
}

const command = (
  text: string,
  check: (model: Model) => boolean,
  run: (model: Model, real: Real) => Promise<void>,
): Command => ({
  check,
  run: async (model, real) => {
    await run(model, real);
    await deliver(model, real);
  },
  toString: () => text,
});

const always = () => true;

const publishTo = (queue: QueueName, priority: number, count: number) =>
  command(`publish ${count} to ${queue} with ${priority}`, always, async (model, real) => {
    const texts = Array.from({ length: count }, () => `m${model.texts++}`);
    for (const text of texts) model.add(queue, text, priority);
    await Promise.all(texts.map((text) => publish(real.channel, text, { routingKey: queue, priority })));
  });

const getFrom = (queue: QueueName, noAck: boolean) =>
  command(`get from ${queue}${noAck ? ' without ack' : ''}`, always, async (model, real) => {
    model.buryTheTired(queue);
    const delivery = await real.channel.get(queue, { noAck });
    const message = model.take(queue, undefined, noAck);
    if (delivery === undefined) return expect(message).toBeUndefined();
    checkDelivery(delivery, message);
    expect(delivery.messageCount).toBe(model.ready[queue].length);
    const made = model.unsettled.at(-1);
    if (!noAck && made !== undefined) real.tags.set(made, delivery.deliveryTag);
  });

const settle = (at: number, outcome: 'ack' | 'reject' | 'requeue', multiple: boolean) =>
  command(
    `${outcome} ${at}${multiple ? ' and those before' : ''}`,
    (model) => model.unsettled.length > 0,
    async (model, real) => {
      const index = at % model.unsettled.length;
      const chosen = model.unsettled[index] as ModelDelivery;
      const deliveries = multiple ? model.unsettled.slice(0, index + 1) : [chosen];
      const tag = real.tags.get(chosen);
      model.settle(deliveries, outcome);
      const { channel } = real;
      const answer =
        outcome === 'ack'
          ? channel.ack(tag, { multiple })
          : channel.reject(tag, { requeue: outcome === 'requeue', multiple });
      expect(await answer).toBe(true);
      await expect(channel.ack(tag)).rejects.toMatchObject({ code: 'PRECONDITION_FAILED' });
    },
  );

const release = (at: number) =>
  command(
    `release from ${at}`,
    (model) => model.unsettled.length > 0,
    async (model, real) => {
      const deliveries = model.unsettled.slice(at % model.unsettled.length);
      model.settle(deliveries, 'release');
      await real.channel.release(deliveries.map((delivery) => real.tags.get(delivery)));
    },
  );

const recover = command('recover', always, async (model, real) => {
  model.settle(model.unsettled, 'requeue');
  await real.channel.recover();
});

let tags = 0;

const consumeFrom = (queue: QueueName, prefetch: number, noAck: boolean) =>
  command(
    `consume ${queue} with ${prefetch}${noAck ? ' without ack' : ''}`,
    (model) => model.consumers.size < 4,
    async (model, real) => {
      const consumerTag = `c${tags++}`;
      model.consumers.set(consumerTag, { queue, prefetch, noAck, unsettled: 0 });
      await real.channel.qos({ prefetch, scope: 'consumer' });
      const onDelivery = (delivery: Delivery) => real.news.push({ tag: consumerTag, delivery });
      await real.channel.consume(queue, { consumerTag, noAck }, { onDelivery, onCancel: () => {} });
    },
  );

const cancel = (at: number) =>
  command(
    `cancel ${at}`,
    (model) => model.consumers.size > 0,
    async (model, real) => {
      const tag = [...model.consumers.keys()][at % model.consumers.size] as string;
      await real.channel.cancel(tag);
      await deliver(model, real);
      model.consumers.delete(tag);
    },
  );

const purge = (queue: QueueName) =>
  command(`purge ${queue}`, always, async (model, real) => {
    expect(await real.channel.queuePurge(queue)).toBe(model.ready[queue].length);
    model.ready[queue] = [];
  });

const count = (queue: QueueName) =>
  command(`count ${queue}`, always, async (model, real) => {
    expect(await real.channel.queueDeclare(queue, { passive: true })).toEqual({
      queue,
      messageCount: model.ready[queue].length,
      consumerCount: [...model.consumers.values()].filter((consumer) => consumer.queue === queue).length,
    });
  });

const queue = fc.constantFrom(...QUEUES);
const index = fc.nat(20);
const commands = fc.commands(
  [
    fc.tuple(queue, fc.nat(3), fc.integer({ min: 1, max: 5 })).map((args) => publishTo(...args)),
    fc.tuple(queue, fc.nat(3), fc.integer({ min: 1, max: 5 })).map((args) => publishTo(...args)),
    fc.tuple(queue, fc.boolean()).map((args) => getFrom(...args)),
    fc
      .tuple(index, fc.constantFrom('ack' as const, 'reject' as const, 'requeue' as const), fc.boolean())
      .map((args) => settle(...args)),
    fc
      .tuple(index, fc.constantFrom('ack' as const, 'reject' as const, 'requeue' as const), fc.boolean())
      .map((args) => settle(...args)),
    index.map(release),
    fc.constant(recover),
    fc.tuple(queue, fc.nat(4), fc.boolean()).map((args) => consumeFrom(...args)),
    index.map(cancel),
    queue.map(purge),
    queue.map(count),
  ],
  { maxCommands: 40, size: 'max' },
);

test.each([
  ['memory', memoryModule()],
  ['memory with leases', memoryModule({ lease: 60_000 })],
])(
  'a channel over %s does what the model does',
  async (_name, module) => {
    await fc.assert(
      fc.asyncProperty(commands, async (program) => {
        const { channel, opened } = await oneChannel(module);
        for (const name of QUEUES) await channel.queueDeclare(name, { arguments: ARGUMENTS[name] });
        await fc.asyncModelRun(() => ({ model: new Model(), real: new Real(channel) }), program);
        await opened.connection.close({ timeout: 1000 });
        await opened.transport.dispose();
      }),
      { numRuns: 200 },
    );
  },
  60_000,
);
