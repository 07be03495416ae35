/** What the cases of the driver contract share: drivers on a store of their own, with shorthands. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import type { ConnectionParameters } from '../../../src/transport/contract.js';
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
} from '../../../src/transports/virtual/driver.js';
import type { FragileStore } from './fragile.js';

export interface DriverUnderTest {
  /** Makes the driver of one more connection. */
  createDriver(): Driver;
  /** How to reach a store that is empty and that no other test uses. */
  emptyStore(): ConnectionParameters | Promise<ConnectionParameters>;
  /** Such a store that can be lost; undefined where none can. */
  fragileStore?(): FragileStore | Promise<FragileStore>;
  /** Features that are emulated and so not kept to the letter. */
  readonly lacks?: Partial<DriverFeatures>;
}

const PLAIN: QueueOptions = { durable: false, autoDelete: false, deadLetter: false, arguments: {} };

/** A message of that text. */
export const stored = (text: string, properties: StoredMessage['properties'] = {}): StoredMessage => ({
  body: Buffer.from(text),
  properties,
  exchange: 'ex',
  routingKey: 'rk',
});

export const textOf = ({ message }: Taken) => Buffer.from(message.body).toString();
export const texts = (taken: readonly Taken[]) => taken.map(textOf);

/** An open driver with shorthands. */
export class Client {
  readonly driver: Driver;
  readonly holder: string;
  readonly parameters: ConnectionParameters;
  readonly hints: string[] = [];
  readonly losses: unknown[] = [];
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
      lost: (error) => void this.losses.push(error),
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
export async function eventually(ask: () => Promise<boolean>): Promise<void> {
  while (!(await ask())) await sleep(5);
}

/** Open drivers, which retire with the test. */
export class Bench {
  readonly features: DriverFeatures;
  readonly #under: DriverUnderTest;

  constructor(under: DriverUnderTest) {
    this.#under = under;
    this.features = { ...under.createDriver().features, ...under.lacks };
  }

  /** A store that can be lost, and a driver that is not open yet. */
  get fragile(): (() => Promise<FragileStore & { readonly client: Client }>) | undefined {
    const under = this.#under;
    const make = under.fragileStore?.bind(under);
    if (make === undefined) return undefined;
    return async () => {
      const store = await make();
      const client = new Client(under.createDriver(), store.parameters);
      onTestFinished(() => client.driver.retire());
      return { ...store, client };
    };
  }

  /** One on an empty store. */
  readonly one = async (): Promise<Client> => this.#client(await this.#under.emptyStore());

  /** Two on an empty store. */
  readonly two = async (): Promise<[Client, Client]> => {
    const first = await this.one();
    return [first, await this.another(first)];
  };

  /** One more on the store of that one. */
  readonly another = ({ parameters }: Client): Promise<Client> => this.#client(parameters);

  async #client(parameters: ConnectionParameters): Promise<Client> {
    const client = await new Client(this.#under.createDriver(), parameters).open();
    onTestFinished(() => client.driver.retire());
    return client;
  }
}
