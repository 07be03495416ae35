/** The Driver contract as tests: what every driver must do, whatever its store. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { MessagingError } from '../../src/errors.js';
import type { ConnectionParameters } from '../../src/transport/contract.js';
import type {
  Driver,
  DriverFeatures,
  Outbound,
  Outcome,
  QueueOptions,
  StoredMessage,
  Taken,
  TakeOptions,
  TakeRequest,
} from '../../src/transports/virtual/driver.js';

export interface DriverUnderTest {
  /** Makes the driver of one more connection. */
  createDriver(): Driver;
  /** How to reach a store that is empty and that no other test uses. */
  emptyStore(): ConnectionParameters | Promise<ConnectionParameters>;
  /** Features that are emulated and so not kept to the letter. */
  readonly lacks?: Partial<DriverFeatures>;
}

const PLAIN: QueueOptions = { durable: false, autoDelete: false, deadLetter: false, arguments: {} };

const stored = (text: string, properties: StoredMessage['properties'] = {}): StoredMessage => ({
  body: Buffer.from(text),
  properties,
  exchange: 'ex',
  routingKey: 'rk',
});

const textOf = ({ message }: Taken) => Buffer.from(message.body).toString();
const texts = (taken: readonly Taken[]) => taken.map(textOf);

/** An open driver with shorthands. */
class Client {
  readonly driver: Driver;
  readonly holder: string;
  readonly parameters: ConnectionParameters;
  readonly hints: string[] = [];
  lost: unknown;
  due = 0;
  #request = 0;

  constructor(driver: Driver, parameters: ConnectionParameters, holder: string = randomUUID()) {
    this.driver = driver;
    this.parameters = parameters;
    this.holder = holder;
  }

  async open(): Promise<this> {
    await this.driver.open({
      parameters: this.parameters,
      holder: { id: this.holder, name: 'test' },
      lost: (error) => {
        this.lost = error;
      },
      due: () => {
        this.due++;
      },
      problem: (error) => {
        throw error;
      },
    });
    return this;
  }

  async declare(name: string, options: Partial<QueueOptions> = {}) {
    const [stat] = await this.driver.declare([{ name, options: { ...PLAIN, ...options } }]);
    return stat;
  }

  async send(queue: string, ...bodies: readonly string[]) {
    return this.driver.send(bodies.map((body) => ({ queue, message: stored(body) })));
  }

  async sendOne(
    queue: string,
    body: string,
    options: Partial<Outbound> & { properties?: StoredMessage['properties'] } = {},
  ) {
    const { properties, ...rest } = options;
    const [result] = await this.driver.send([{ queue, message: stored(body, properties), ...rest }]);
    return result;
  }

  take(requests: readonly TakeRequest[], options: Partial<TakeOptions> = {}) {
    const requestId = ++this.#request;
    return Promise.resolve(
      this.driver.take(requests, { requestId, limit: 1000, order: 'fair', waitMs: 0, ...options }),
    );
  }

  takeFrom(queue: string, credit = 1000, options: Partial<TakeOptions> = {}) {
    return this.take([{ queue, credit, noAck: false }], options);
  }

  get lastRequest(): number {
    return this.#request;
  }

  async settle(outcome: Outcome, ...taken: readonly Taken[]) {
    return this.driver.settle(taken.map(({ lease }) => ({ lease, outcome })));
  }

  async count(queue: string) {
    const [stat] = await this.driver.stat([queue]);
    return stat?.messageCount;
  }

  async watch(...queues: string[]) {
    await this.driver.watch(queues, {
      ready: (queue) => this.hints.push(`ready ${queue}`),
      gone: (queue) => this.hints.push(`gone ${queue}`),
    });
  }
}

/** Asks until it is so. */
async function eventually(ask: () => Promise<boolean>): Promise<void> {
  while (!(await ask())) await sleep(5);
}

/** Runs the contract over the drivers that `under` makes. */
export function driverContract(name: string, under: DriverUnderTest): void {
  const features = { ...under.createDriver().features, ...under.lacks };

  async function clients<N extends number>(count: N): Promise<Client[] & { length: N }> {
    const parameters = await under.emptyStore();
    const made: Client[] = [];
    for (let i = 0; i < count; i++) {
      const client = await new Client(under.createDriver(), parameters).open();
      onTestFinished(() => client.driver.retire());
      made.push(client);
    }
    return made as Client[] & { length: N };
  }

  async function one(): Promise<Client> {
    const [client] = await clients(1);
    return client as Client;
  }

  async function two(): Promise<[Client, Client]> {
    return (await clients(2)) as unknown as [Client, Client];
  }

  describe(`driver contract: ${name}`, () => {
    describe('queues', () => {
      test('are created with their options, which a second declaration leaves as they are', async () => {
        const [a, b] = await two();
        const args = { 'x-message-ttl': 100_000, 'x-mine': { deep: [1, 'two'] } };
        const first = await a.declare('q', { durable: true, messageTtl: 100_000, arguments: args });
        expect(first).toMatchObject({ name: 'q', messageCount: 0, consumerCount: 0 });
        const second = await b.declare('q', { autoDelete: true });
        expect(second?.options).toMatchObject({
          durable: true,
          autoDelete: false,
          messageTtl: 100_000,
          arguments: args,
        });
      });

      test('stat and list know those that exist, of whatever connection', async () => {
        const [a, b] = await two();
        await a.declare('q1');
        await a.declare('q2');
        await a.send('q1', 'x', 'y');
        const [q1, none, q2] = await b.driver.stat(['q1', 'none', 'q2']);
        expect(q1?.messageCount).toBe(2);
        expect(none).toBeUndefined();
        expect(q2?.messageCount).toBe(0);
        expect([...(await b.driver.list())].sort()).toEqual(['q1', 'q2']);
      });

      test('are removed with their messages and bindings', async () => {
        const a = await one();
        await a.declare('q');
        await a.declare('other');
        await a.driver.table.apply([
          {
            kind: 'bind',
            binding: {
              source: 'amq.direct',
              destinationType: 'queue',
              destination: 'q',
              routingKey: 'k',
              arguments: {},
            },
          },
        ]);
        await a.send('q', 'x', 'y');
        expect(await a.driver.remove([{ queue: 'q' }, { queue: 'none' }])).toEqual([2, 'missing']);
        expect(await a.driver.stat(['q', 'other'])).toMatchObject([undefined, { name: 'other' }]);
        expect(await a.driver.table.bindingsTo('queue', 'q')).toEqual([]);
        await a.declare('q');
        expect(await a.count('q')).toBe(0);
      });

      test('are removed only unused or only empty, when that is asked for', async () => {
        const a = await one();
        await a.declare('q');
        await a.send('q', 'x');
        await a.driver.attach([{ queue: 'q', tag: 't', exclusive: false }]);
        expect(await a.driver.remove([{ queue: 'q', ifUnused: true }])).toEqual(['used']);
        expect(await a.driver.remove([{ queue: 'q', ifEmpty: true }])).toEqual(['not-empty']);
        await a.driver.detach([{ queue: 'q', tag: 't', exclusive: false }]);
        await a.driver.purge(['q']);
        expect(await a.driver.remove([{ queue: 'q', ifUnused: true, ifEmpty: true }])).toEqual([0]);
      });

      test('purge removes what nobody holds, and says how much', async () => {
        const a = await one();
        await a.declare('q');
        await a.send('q', '1', '2', '3');
        const [held] = await a.takeFrom('q', 1);
        expect(await a.driver.purge(['q', 'none'])).toEqual([2, 0]);
        expect(await a.settle('requeue', held as Taken)).toEqual([true]);
        expect(texts(await a.takeFrom('q'))).toEqual(['1']);
      });

      test('peek shows the next ones and takes none', async () => {
        const a = await one();
        await a.declare('q');
        await a.send('q', '1', '2', '3');
        const peeked = await a.driver.peek('q', 2);
        expect(peeked.map(({ body }) => Buffer.from(body).toString())).toEqual(['1', '2']);
        expect(await a.count('q')).toBe(3);
        expect(await a.driver.peek('none', 2)).toEqual([]);
      });

      test('exclusive to a holder: nobody else takes from them, and they go with him', async () => {
        const [a, b] = await two();
        await a.declare('q', { exclusiveTo: a.holder });
        await b.send('q', 'x');
        expect((await b.declare('q'))?.options?.exclusiveTo).toBe(a.holder);
        expect(await b.takeFrom('q')).toEqual([]);
        expect(await b.driver.attach([{ queue: 'q', tag: 't', exclusive: false }])).toEqual(['locked']);
        expect(texts(await a.takeFrom('q'))).toEqual(['x']);
        await a.driver.retire();
        expect(await b.driver.stat(['q'])).toEqual([undefined]);
      });
    });

    describe('messages', () => {
      test('come out as they went in, in order', async () => {
        const [a, b] = await two();
        await a.declare('q');
        const properties = {
          contentType: 'application/json',
          contentEncoding: 'utf-8',
          headers: { text: 'ü', number: 1.5, nested: { list: [1, null, true] } },
          deliveryMode: 2,
          priority: 0,
          correlationId: 'c',
          replyTo: 'r',
          messageId: 'm',
          type: 't',
          appId: 'a',
        };
        const message = {
          ...stored('x', properties),
          body: new Uint8Array([0, 255, 128, 10]),
          extra: { DelaySeconds: 5 },
        };
        expect(await a.driver.send([{ queue: 'q', message }])).toEqual(['stored']);
        await a.send('q', '1', '2', '3');
        const [first, ...rest] = await b.takeFrom('q');
        expect([...(first?.message.body ?? [])]).toEqual([0, 255, 128, 10]);
        expect(first).toMatchObject({
          queue: 'q',
          redelivered: false,
          message: { exchange: 'ex', routingKey: 'rk', properties, extra: { DelaySeconds: 5 } },
        });
        expect(texts(rest)).toEqual(['1', '2', '3']);
      });

      test('to a queue that does not exist are told to miss it; the rest of the batch is stored', async () => {
        const a = await one();
        await a.declare('q');
        const batch = ['q', 'none', 'q'].map((queue) => ({ queue, message: stored('x') }));
        expect(await a.driver.send(batch)).toEqual(['stored', 'missing', 'stored']);
        expect(await a.count('q')).toBe(2);
      });

      test('share nothing with the publisher, nor one taker with the next', async () => {
        const a = await one();
        await a.declare('q1');
        await a.declare('q2');
        const message = stored('original', { headers: { list: [1], own: 'mine' } });
        await a.driver.send(['q1', 'q2'].map((queue) => ({ queue, message })));
        message.body.fill(0);
        (message.properties.headers as { list: number[] }).list.push(2);
        const [first] = (await a.takeFrom('q1')) as [Taken];
        first.message.body.fill(1);
        (first.message.properties.headers as { own: string }).own = 'changed';
        await a.settle('release', first);
        for (const queue of ['q1', 'q2']) {
          const [again] = (await a.takeFrom(queue)) as [Taken];
          expect(textOf(again)).toBe('original');
          expect(again.message.properties.headers).toEqual({ list: [1], own: 'mine' });
        }
      });

      test('held by one are given to nobody else', async () => {
        const [a, b] = await two();
        await a.declare('q');
        await a.send('q', '1', '2');
        expect(texts(await a.takeFrom('q', 1))).toEqual(['1']);
        expect(texts(await b.takeFrom('q'))).toEqual(['2']);
        expect(await a.count('q')).toBe(0);
      });

      test('taken without acknowledgement are gone', async () => {
        const a = await one();
        await a.declare('q');
        await a.send('q', '1');
        const [taken] = await a.take([{ queue: 'q', credit: 5, noAck: true }]);
        expect(taken?.lease).toBeUndefined();
        await a.driver.retire();
        const b = await new Client(under.createDriver(), a.parameters).open();
        expect(await b.takeFrom('q')).toEqual([]);
        await b.driver.retire();
      });
    });

    describe('settling', () => {
      test.each(['ack', 'reject'] as const)('%s: gone; a second time it was not ours any more', async (outcome) => {
        const a = await one();
        await a.declare('q');
        await a.send('q', '1');
        const [taken] = (await a.takeFrom('q')) as [Taken];
        expect(await a.settle(outcome, taken)).toEqual([true]);
        expect(await a.settle('requeue', taken)).toEqual([false]);
        expect(await a.takeFrom('q')).toEqual([]);
      });

      test.each(['abandon', 'release'] as const)('%s: back to its place', async (outcome) => {
        const a = await one();
        await a.declare('q');
        await a.send('q', '1', '2', '3');
        const [first, second] = (await a.takeFrom('q', 2)) as [Taken, Taken];
        expect(await a.settle(outcome, first, second)).toEqual([true, true]);
        expect(texts(await a.takeFrom('q'))).toEqual(['1', '2', '3']);
      });

      test('requeue: to where the features say', async () => {
        const a = await one();
        await a.declare('q');
        await a.send('q', '1', '2', '3');
        const [, second] = (await a.takeFrom('q', 2)) as [Taken, Taken];
        await a.settle('requeue', second);
        const expected = { original: ['2', '3'], front: ['2', '3'], back: ['3', '2'] };
        expect(texts(await a.takeFrom('q'))).toEqual(expected[features.requeuePosition]);
      });

      test('what came back is marked and counted, but not what was released', async () => {
        const a = await one();
        await a.declare('q');
        await a.send('q', '1');
        const rounds: [boolean, number | undefined][] = [];
        for (const outcome of ['release', 'abandon', 'release', 'requeue', 'ack'] as const) {
          const [taken] = (await a.takeFrom('q')) as [Taken];
          rounds.push([taken.redelivered, taken.deliveryCount]);
          await a.settle(outcome, taken);
        }
        const counted = rounds[0]?.[1] !== undefined;
        expect(rounds).toEqual(
          [false, false, true, true, true].map((redelivered, i) => [
            redelivered,
            counted ? [0, 0, 1, 1, 2][i] : undefined,
          ]),
        );
      });

      test('is refused for an earlier taking of what is held again', async () => {
        const a = await one();
        await a.declare('q');
        await a.send('q', '1');
        const before = await a.takeFrom('q');
        await a.settle('requeue', ...before);
        const again = await a.takeFrom('q');
        expect(await a.driver.extend(before.map(({ lease }) => lease))).toEqual([false]);
        expect(await a.settle('ack', ...before)).toEqual([false]);
        expect(await a.settle('ack', ...again)).toEqual([true]);
      });

      test("is refused for another holder's lease", async () => {
        const [a, b] = await two();
        await a.declare('q');
        await a.send('q', '1');
        const taken = await a.takeFrom('q');
        expect(await b.settle('ack', ...taken)).toEqual([false]);
        expect(await a.settle('ack', ...taken)).toEqual([true]);
      });

      test('in one batch each gets its answer', async () => {
        const a = await one();
        await a.declare('q');
        await a.send('q', '1', '2', '3');
        const [first, second, third] = (await a.takeFrom('q')) as [Taken, Taken, Taken];
        await a.settle('ack', second);
        const outcomes = await a.driver.settle([
          { lease: first.lease, outcome: 'requeue' },
          { lease: second.lease, outcome: 'ack' },
          { lease: third.lease, outcome: 'ack' },
        ]);
        expect(outcomes).toEqual([true, false, true]);
        expect(texts(await a.takeFrom('q'))).toEqual(['1']);
      });

      test('of a deleted queue: it was not there any more', async () => {
        const a = await one();
        await a.declare('q');
        await a.send('q', '1');
        const taken = await a.takeFrom('q');
        await a.driver.remove([{ queue: 'q' }]);
        expect(await a.settle('ack', ...taken)).toEqual([false]);
      });
    });

    describe('take', () => {
      const numbered = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}${i}`);
      const from = (taken: readonly Taken[], queue: string) => texts(taken.filter((one) => one.queue === queue));

      async function filled() {
        const a = await one();
        for (const queue of ['many', 'few', 'none']) await a.declare(queue);
        await a.send('many', ...numbered('m', 50));
        await a.send('few', ...numbered('f', 3));
        return a;
      }

      const ask = (queue: string, credit = 100) => ({ queue, credit, noAck: false });

      test('gives no more than the credit, and nothing from what is absent', async () => {
        const a = await filled();
        const taken = await a.take([ask('many', 4), ask('absent'), ask('none'), ask('few', 2)]);
        expect(from(taken, 'many')).toEqual(numbered('m', 4));
        expect(from(taken, 'few')).toEqual(numbered('f', 2));
        expect(taken).toHaveLength(6);
      });

      test('fair: equal parts of the limit, and what one leaves goes to the others', async () => {
        const a = await filled();
        const taken = await a.take([ask('many'), ask('none'), ask('few')], { limit: 10 });
        expect(from(taken, 'few')).toEqual(numbered('f', 3));
        expect(from(taken, 'many')).toEqual(numbered('m', 7));
      });

      test('strict: the first named first', async () => {
        const a = await filled();
        const taken = await a.take([ask('few'), ask('many')], { limit: 10, order: 'strict' });
        expect(texts(taken)).toEqual([...numbered('f', 3), ...numbered('m', 7)]);
        const more = await a.take([ask('many'), ask('few')], { limit: 10, order: 'strict' });
        expect(from(more, 'many')).toHaveLength(10);
      });

      test('may be asked again: by number, and without requests, for what it took and was not settled', async () => {
        const a = await filled();
        const first = await a.take([ask('few')]);
        const requestId = a.lastRequest;
        await a.take([ask('many', 2)]);
        await a.settle('ack', first[1] as Taken);
        const again = await a.take([], { requestId });
        expect(texts(again)).toEqual(['f0', 'f2']);
        expect(await a.settle('ack', ...again)).toEqual([true, true]);
        expect(await a.take([], { requestId })).toEqual([]);
        expect(await a.take([], { requestId: 999_999 })).toEqual([]);
      });
    });

    describe('holders', () => {
      test('keep what they hold from one incarnation to the next', async () => {
        const [a, b] = await two();
        await a.declare('q');
        await a.send('q', '1', '2');
        const taken = await a.takeFrom('q');
        await a.driver.close();
        expect(await b.takeFrom('q')).toEqual([]);
        await a.open();
        expect(await a.settle('ack', ...taken)).toEqual([true, true]);
      });

      test('give everything back when they retire: to its place, marked', async () => {
        const [a, b] = await two();
        await a.declare('q');
        await a.send('q', '1', '2', '3');
        await a.takeFrom('q', 2);
        await a.driver.retire();
        const taken = await b.takeFrom('q');
        expect(texts(taken)).toEqual(['1', '2', '3']);
        expect(taken.map(({ redelivered }) => redelivered)).toEqual([true, true, false]);
      });

      test('that are not open are refused, with an error that can be classified', async () => {
        const a = await one();
        await a.declare('q');
        await a.driver.close();
        const failure = await Promise.resolve()
          .then(() => a.driver.stat(['q']))
          .catch((error: unknown) => a.driver.classify(error));
        expect(failure).toBeInstanceOf(MessagingError);
      });

      test('closing and retiring twice is no error', async () => {
        const a = await one();
        await a.driver.close();
        await a.driver.close();
        await a.driver.retire();
        await a.driver.retire();
      });

      test('tell what they are', async () => {
        expect(await (await one()).driver.info()).toMatchObject({ product: expect.any(String) });
      });
    });

    describe('consumers', () => {
      const consumer = (tag: string, exclusive = false) => ({ queue: 'q', tag, exclusive });
      const consumers = async (client: Client) => (await client.driver.stat(['q']))[0]?.consumerCount;

      test('are counted over all connections', async () => {
        const [a, b] = await two();
        await a.declare('q');
        expect(await a.driver.attach([consumer('1'), consumer('2')])).toEqual([1, 2]);
        expect(await b.driver.attach([consumer('1')])).toEqual([3]);
        expect(await consumers(b)).toBe(3);
        expect(await a.driver.detach([consumer('1')])).toEqual([2]);
        await a.driver.close();
        await eventually(async () => (await consumers(b)) === 1);
      });

      test('exclusive ones are alone', async () => {
        const [a, b] = await two();
        await a.declare('q');
        expect(await a.driver.attach([consumer('1', true)])).toEqual([1]);
        expect(await b.driver.attach([consumer('2')])).toEqual(['refused']);
        expect(await a.driver.attach([consumer('2')])).toEqual(['refused']);
        await a.driver.detach([consumer('1', true)]);
        expect(await b.driver.attach([consumer('2')])).toEqual([1]);
        expect(await a.driver.attach([consumer('3', true)])).toEqual(['refused']);
      });

      test('of a queue that does not exist are told so', async () => {
        const a = await one();
        expect(await a.driver.attach([consumer('1')])).toEqual(['missing']);
        expect(await a.driver.detach([consumer('1')])).toEqual([0]);
      });

      test('take an auto-delete queue with them when the last one goes', async () => {
        const [a, b] = await two();
        await a.declare('q', { autoDelete: true });
        await a.driver.attach([consumer('1')]);
        await b.driver.attach([consumer('2')]);
        await a.driver.detach([consumer('1')]);
        expect(await consumers(a)).toBe(1);
        expect(await b.driver.detach([consumer('2')])).toEqual([0]);
        expect(await a.driver.stat(['q'])).toEqual([undefined]);
      });

      test.runIf(features.singleActiveConsumer)(
        'the first one has a single-active queue alone, then the next',
        async () => {
          const [a, b] = await two();
          await a.declare('q', { singleActiveConsumer: true });
          await a.driver.attach([consumer('1')]);
          await b.driver.attach([consumer('2')]);
          await a.send('q', '1', '2');
          expect(await b.takeFrom('q')).toEqual([]);
          expect(texts(await a.takeFrom('q', 1))).toEqual(['1']);
          await b.watch('q');
          await a.driver.detach([consumer('1')]);
          await eventually(async () => b.hints.includes('ready q') || features.pollInterval !== undefined);
          expect(texts(await b.takeFrom('q'))).toEqual(['2']);
        },
      );
    });

    describe.runIf(features.pollInterval === undefined && !features.longPoll)('hints', () => {
      test('tell of each queue that has something, until it was looked at', async () => {
        const [a, b] = await two();
        await a.declare('q');
        await b.watch('q');
        await a.send('q', '1');
        await eventually(async () => b.hints.length > 0);
        expect(b.hints[0]).toBe('ready q');
        expect(texts(await b.takeFrom('q'))).toEqual(['1']);
        b.hints.length = 0;
        await a.send('q', '2');
        await eventually(async () => b.hints.includes('ready q'));
      });

      test('tell of what was there before, and of what is left', async () => {
        const a = await one();
        await a.declare('q');
        await a.send('q', '1', '2', '3');
        await a.watch('q');
        await eventually(async () => a.hints.length === 1);
        await a.takeFrom('q', 2, { limit: 1 });
        await eventually(async () => a.hints.length === 2);
        const [taken] = await a.takeFrom('q');
        a.hints.length = 0;
        await a.settle('requeue', taken as Taken);
        await eventually(async () => a.hints.includes('ready q'));
      });

      test('tell of a queue that is made later, and when one is gone', async () => {
        const [a, b] = await two();
        await a.watch('q');
        await b.declare('q');
        await b.send('q', '1');
        await eventually(async () => a.hints.includes('ready q'));
        await a.takeFrom('q');
        await b.driver.remove([{ queue: 'q' }]);
        await eventually(async () => a.hints.includes('gone q'));
      });

      test('end for a queue that is watched no more', async () => {
        const a = await one();
        await a.declare('q1');
        await a.declare('q2');
        await a.watch('q1', 'q2');
        await a.watch('q2');
        await a.send('q1', '1');
        await a.send('q2', '1');
        await eventually(async () => a.hints.includes('ready q2'));
        expect(a.hints).toEqual(['ready q2']);
      });
    });

    describe.runIf(features.priority !== 'none')('priorities', () => {
      test('are served in the order that the features name, up to the highest of the queue', async () => {
        const a = await one();
        await a.declare('q', { maxPriority: 5 });
        for (const priority of [1, 5, undefined, 9, 1]) {
          await a.sendOne('q', `${priority}`, { properties: priority === undefined ? {} : { priority } });
        }
        const highestFirst = ['5', '9', '1', '1', 'undefined'];
        const expected = features.priority === 'highest-first' ? highestFirst : ['undefined', '1', '1', '5', '9'];
        expect(texts(await a.takeFrom('q'))).toEqual(expected);
      });

      test('what comes back keeps its own', async () => {
        const a = await one();
        await a.declare('q', { maxPriority: 5 });
        await a.sendOne('q', 'high', { properties: { priority: features.priority === 'highest-first' ? 5 : 0 } });
        const taken = await a.takeFrom('q');
        await a.sendOne('q', 'low', { properties: { priority: features.priority === 'highest-first' ? 0 : 5 } });
        await a.settle('abandon', ...taken);
        expect(texts(await a.takeFrom('q'))).toEqual(['high', 'low']);
      });
    });

    describe.runIf(features.delay)('delay', () => {
      test('nobody takes a message before its time; then it is there, and a hint tells', async () => {
        const a = await one();
        await a.declare('q');
        await a.watch('q');
        // Far enough off for a loaded machine.
        const notBefore = Date.now() + 400;
        await a.sendOne('q', 'later', { notBefore });
        await a.sendOne('q', 'past', { notBefore: Date.now() - 1000 });
        expect(texts(await a.takeFrom('q'))).toEqual(['past']);
        expect(await a.count('q')).toBe(0);
        let taken: readonly Taken[] = [];
        await eventually(async () => {
          taken = await a.takeFrom('q');
          return taken.length > 0;
        });
        expect(texts(taken)).toEqual(['later']);
        expect(Date.now()).toBeGreaterThanOrEqual(notBefore);
      });

      test('order is that of the times', async () => {
        const a = await one();
        await a.declare('q');
        const now = Date.now();
        await a.sendOne('q', 'c', { notBefore: now + 1240 });
        await a.sendOne('q', 'a', { notBefore: now + 1220 });
        await a.sendOne('q', 'b', { notBefore: now + 1230 });
        await eventually(async () => (await a.count('q')) === 3);
        expect(texts(await a.takeFrom('q'))).toEqual(['a', 'b', 'c']);
      });

      test('purge and removal take what is delayed too', async () => {
        const a = await one();
        await a.declare('q');
        await a.sendOne('q', 'later', { notBefore: Date.now() + 60_000 });
        expect(await a.driver.purge(['q'])).toEqual([1]);
      });
    });

    describe.runIf(features.messageTtl)('message TTL', () => {
      /** What `sweep` finds expired, until there is something. */
      async function swept(client: Client): Promise<readonly Taken[]> {
        for (;;) {
          const { expired } = await client.driver.sweep(100);
          if (expired.length > 0) return expired;
          await sleep(5);
        }
      }

      test('of a message, wherever it stands: never served as if it had not expired', async () => {
        const a = await one();
        await a.declare('q');
        await a.send('q', 'first');
        await a.sendOne('q', 'short', { expiresAt: Date.now() + 30 });
        await a.send('q', 'last');
        await eventually(async () => (await a.count('q')) === 2);
        expect(texts(await a.takeFrom('q'))).toEqual(['first', 'last']);
      });

      test('of the queue, whichever ends first', async () => {
        const a = await one();
        await a.declare('q', { messageTtl: 30 });
        await a.sendOne('q', 'own', { expiresAt: Date.now() + 60_000 });
        await a.send('q', 'none');
        await eventually(async () => (await a.count('q')) === 0);
      });

      test('a message that is held does not expire; back in its queue it has', async () => {
        const a = await one();
        await a.declare('q', { messageTtl: 300 });
        await a.send('q', '1', '2');
        const [first, second] = (await a.takeFrom('q')) as [Taken, Taken];
        await sleep(310);
        expect(await a.settle('ack', first)).toEqual([true]);
        expect(await a.settle('requeue', second)).toEqual([true]);
        await eventually(async () => (await a.count('q')) === 0);
        expect((await a.takeFrom('q')).filter(({ expired }) => expired !== true)).toEqual([]);
      });

      test('where there is a dead-letter exchange the sweeper gets it, and holds it', async () => {
        const [a, b] = await two();
        await a.declare('q', { messageTtl: 20, deadLetter: true });
        await a.send('q', '1', '2');
        await eventually(async () => (await a.count('q')) === 0);
        const expired = await swept(b);
        expect(texts(expired)).toEqual(['1', '2']);
        expect(expired.every((taken) => taken.expired === true)).toBe(true);
        expect((await a.driver.sweep(100)).expired).toEqual([]);
        expect(await b.settle('reject', expired[0] as Taken)).toEqual([true]);
        // The other was not seen to: the next sweeper gets it.
        await b.driver.retire();
        expect(texts(await swept(a))).toEqual(['2']);
      });

      test.runIf(features.sweepInterval === undefined)('and it is told that it is due', async () => {
        const a = await one();
        await a.declare('q', { messageTtl: 20, deadLetter: true });
        await a.send('q', '1');
        await eventually(async () => a.due > 0);
        expect((await a.driver.sweep(10)).expired).toHaveLength(1);
      });
    });

    describe.runIf(features.queueTtl)('queue TTL', () => {
      const exists = async (client: Client) => (await client.driver.stat(['q']))[0] !== undefined;

      test('a queue that nobody used for so long is gone', async () => {
        const a = await one();
        await a.declare('q', { expires: 300 });
        await a.send('q', '1');
        expect(await exists(a)).toBe(true);
        await eventually(async () => !(await exists(a)));
      });

      test('declaring it, taking from it and consuming it are use', async () => {
        const [a, b] = await two();
        await a.declare('q', { expires: 400 });
        const usedUntil = Date.now() + 900;
        while (Date.now() < usedUntil) {
          await sleep(40);
          await b.declare('q');
          await sleep(40);
          await a.takeFrom('q');
        }
        const consumer = { queue: 'q', tag: 't', exclusive: false };
        await a.driver.extend([]);
        await a.driver.attach([consumer]);
        for (let i = 0; i < 5; i++) {
          await sleep(100);
          // A holder that gave no sign of life for the time of a lease would have no consumers.
          await a.driver.extend([]);
        }
        expect(await exists(a)).toBe(true);
        await a.driver.detach([consumer]);
        await eventually(async () => !(await exists(a)));
      });
    });

    describe.runIf(features.maxLength)('maximum length', () => {
      test('drop-head: the oldest make room', async () => {
        const a = await one();
        await a.declare('q', { maxLength: 2 });
        expect(await a.send('q', '1', '2', '3')).toEqual(['stored', 'stored', 'stored']);
        expect(texts(await a.takeFrom('q'))).toEqual(['2', '3']);
      });

      test('drop-head counts bytes', async () => {
        const a = await one();
        await a.declare('q', { maxLengthBytes: 5 });
        await a.send('q', 'aa', 'bb', 'cc');
        expect(texts(await a.takeFrom('q'))).toEqual(['bb', 'cc']);
      });

      test('reject-publish: the newest is refused', async () => {
        const a = await one();
        await a.declare('q', { maxLength: 2, overflow: 'reject-publish' });
        expect(await a.send('q', '1', '2', '3')).toEqual(['stored', 'stored', 'full']);
        const [first] = await a.takeFrom('q', 1);
        expect(await a.send('q', '4')).toEqual(['stored']);
        await a.settle('requeue', first as Taken);
        expect(await a.count('q')).toBe(3);
      });

      test('what drop-head pushed out goes to the sweeper where there is a dead-letter exchange', async () => {
        const a = await one();
        await a.declare('q', { maxLength: 1, deadLetter: true });
        await a.send('q', '1', '2', '3');
        const { overflowed } = await a.driver.sweep(100);
        expect(texts(overflowed)).toEqual(['1', '2']);
        expect(await a.settle('reject', ...overflowed)).toEqual([true, true]);
        expect(await a.count('q')).toBe(1);
      });

      test('and stays pushed out, whoever the sweeper is and however much room there is meanwhile', async () => {
        const [a, b] = await two();
        await a.declare('q', { maxLength: 1, deadLetter: true });
        await a.send('q', '1', '2');
        expect(texts((await b.driver.sweep(100)).overflowed)).toEqual(['1']);
        await a.takeFrom('q');
        await b.driver.retire();
        expect(await a.count('q')).toBe(0);
        expect(texts((await a.driver.sweep(100)).overflowed)).toEqual(['1']);
      });
    });

    const { lease } = features;
    describe.runIf(lease !== undefined)('leases', () => {
      const third = (lease ?? 0) / 3;

      test('that are renewed last; others end, and the message is back in its place, marked', async () => {
        const [a, b] = await two();
        await a.declare('q');
        await a.send('q', '1', '2', '3');
        const [kept, left] = (await a.takeFrom('q', 2)) as [Taken, Taken];
        for (let i = 0; i < 6; i++) {
          await sleep(third);
          expect(await a.driver.extend([kept.lease])).toEqual([true]);
          await b.driver.sweep(100);
        }
        const taken = await b.takeFrom('q');
        expect(texts(taken)).toEqual(['2', '3']);
        expect(taken[0]?.redelivered).toBe(true);
        expect(await a.driver.extend([kept.lease, left.lease])).toEqual([true, false]);
        expect(await a.settle('ack', kept, left)).toEqual([true, false]);
      });

      test('a holder that gives no sign of life loses its consumers and exclusive queues', async () => {
        const [a, b] = await two();
        await a.declare('q');
        await a.declare('mine', { exclusiveTo: a.holder });
        await a.driver.attach([{ queue: 'q', tag: 't', exclusive: true }]);
        await b.driver.extend([]);
        await eventually(async () => {
          await b.driver.extend([]);
          await b.driver.sweep(100);
          return (await b.driver.stat(['q']))[0]?.consumerCount === 0;
        });
        expect(await b.driver.stat(['mine'])).toEqual([undefined]);
      });
    });

    describe('the shared table', () => {
      const exchange = (exchangeName: string, options: { autoDelete?: boolean; type?: string } = {}) =>
        ({
          kind: 'put-exchange',
          exchange: {
            name: exchangeName,
            type: options.type ?? 'topic',
            durable: true,
            autoDelete: options.autoDelete ?? false,
            internal: false,
            arguments: { 'alternate-exchange': 'rest' },
          },
        }) as const;
      const binding = (source: string, destination: string, routingKey = 'k', args = {}) => ({
        source,
        destinationType: destination.startsWith('q') ? ('queue' as const) : ('exchange' as const),
        destination,
        routingKey,
        arguments: args,
      });
      const record = async (client: Client, exchangeName: string) => {
        const found = await client.driver.table.exchange(exchangeName);
        if (found === 'unchanged') throw new Error('nothing was known');
        return found;
      };

      test('has what was put, for everybody; a second put changes nothing', async () => {
        const [a, b] = await two();
        await a.driver.table.apply([exchange('x')]);
        await b.driver.table.apply([exchange('x', { type: 'fanout' })]);
        expect(await record(b, 'x')).toMatchObject({
          name: 'x',
          type: 'topic',
          durable: true,
          autoDelete: false,
          internal: false,
          arguments: { 'alternate-exchange': 'rest' },
          bindings: [],
        });
        expect(await b.driver.table.exchanges()).toContain('x');
        expect(await record(b, 'none')).toBeUndefined();
      });

      test('has bindings once each, told apart by key and arguments', async () => {
        const a = await one();
        await a.declare('q');
        const bindings = [
          binding('x', 'q', 'a'),
          binding('x', 'q', 'b'),
          binding('x', 'q', 'a', { h: 1 }),
          binding('x', 'y', 'a'),
        ];
        await a.driver.table.apply([exchange('x'), exchange('y')]);
        for (let i = 0; i < 2; i++)
          await a.driver.table.apply(bindings.map((one) => ({ kind: 'bind', binding: one }) as const));
        expect((await record(a, 'x'))?.bindings).toHaveLength(4);
        expect(await a.driver.table.bindingsTo('queue', 'q')).toHaveLength(3);
        expect(await a.driver.table.bindingsTo('exchange', 'y')).toEqual([binding('x', 'y', 'a')]);
        await a.driver.table.apply([{ kind: 'unbind', binding: binding('x', 'q', 'a') }]);
        expect((await record(a, 'x'))?.bindings.map(({ routingKey }) => routingKey).sort()).toEqual(['a', 'a', 'b']);
      });

      test('says unchanged to who knows the version, until something changes', async () => {
        const [a, b] = await two();
        await a.driver.table.apply([exchange('x')]);
        const version = (await record(a, 'x'))?.version;
        expect(await a.driver.table.exchange('x', version)).toBe('unchanged');
        await b.driver.table.apply([{ kind: 'bind', binding: binding('x', 'q') }]);
        expect(await a.driver.table.exchange('x', version)).toMatchObject({ bindings: [binding('x', 'q')] });
        const next = (await record(a, 'x'))?.version;
        await b.driver.table.apply([{ kind: 'delete-exchange', name: 'x' }, exchange('x')]);
        expect(await a.driver.table.exchange('x', next)).toMatchObject({ bindings: [] });
      });

      test('deletes an exchange with its bindings on both sides; unused only when asked for', async () => {
        const a = await one();
        await a.driver.table.apply([
          exchange('x'),
          exchange('y'),
          { kind: 'bind', binding: binding('x', 'y') },
          { kind: 'bind', binding: binding('y', 'q') },
        ]);
        expect(await a.driver.table.apply([{ kind: 'delete-exchange', name: 'y', ifUnused: true }])).toEqual([false]);
        expect(await a.driver.table.apply([{ kind: 'delete-exchange', name: 'y' }])).toEqual([true]);
        expect((await record(a, 'x'))?.bindings).toEqual([]);
        expect(await a.driver.table.bindingsTo('queue', 'q')).toEqual([]);
        expect(await a.driver.table.apply([{ kind: 'delete-exchange', name: 'x', ifUnused: true }])).toEqual([true]);
        expect(await a.driver.table.apply([{ kind: 'delete-exchange', name: 'none' }])).toEqual([true]);
      });

      test('an auto-delete exchange goes with its last binding, also when a queue takes it along, and on down the line', async () => {
        const a = await one();
        await a.declare('q');
        await a.driver.table.apply([
          exchange('x', { autoDelete: true }),
          exchange('y', { autoDelete: true }),
          { kind: 'bind', binding: binding('x', 'y') },
          { kind: 'bind', binding: binding('y', 'q') },
        ]);
        await a.driver.remove([{ queue: 'q' }]);
        expect(await record(a, 'y')).toBeUndefined();
        expect(await record(a, 'x')).toBeUndefined();
      });

      test('exchanges that AMQP predeclares may be bound', async () => {
        const a = await one();
        await a.driver.table.apply([{ kind: 'bind', binding: binding('amq.topic', 'q') }]);
        expect((await record(a, 'amq.topic'))?.bindings).toEqual([binding('amq.topic', 'q')]);
      });

      test('tells of changes, by whomever; where it is coherent, before they are answered', async () => {
        const [a, b] = await two();
        const changed: string[] = [];
        const stop = a.driver.table.watch((exchangeName) => changed.push(exchangeName));
        await b.driver.table.apply([exchange('x'), { kind: 'bind', binding: binding('x', 'q') }]);
        if (a.driver.table.coherent) expect(changed).toContain('x');
        stop();
        changed.length = 0;
        await b.driver.table.apply([{ kind: 'delete-exchange', name: 'x' }]);
        expect(changed).toEqual([]);
      });
    });
  });
}
