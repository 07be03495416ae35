/** Clients of AMQP, against the null broker and against RabbitMQ. */
import { fileURLToPath } from 'node:url';
import { connect } from '@wakame/amqp';
import { celeryBody, celeryProperties, jsonText } from '../amqp/messages.ts';
import { type Scenario, scenarios } from '../amqp/scenarios.ts';
import { kombuCommand } from '../lib/kombu.ts';
import type { Case } from '../lib/run.ts';
import type { Suite, Times, Wanted } from './suite.ts';

const adapters = [
  ...['raw', 'raw-lib', 'wakame-amqp', 'wakame', 'amqplib', 'rabbitmq-client', 'cloudamqp', 'kombu'],
] as const;
/** What kombu/measure.py knows. */
const OF_KOMBU: readonly string[] = ['publish-100', 'consume-ack-100'];

const program = fileURLToPath(new URL('../amqp/measure.ts', import.meta.url));

interface Options extends Times {
  readonly url: string;
  readonly wanted: Wanted;
}

function commandFor(
  adapter: string,
  scenario: string,
  { url, warmUp, measure }: Options,
  most: number,
): readonly string[] {
  if (adapter === 'kombu') return kombuCommand(scenario, url, { warmUp, measure, most });
  const args = [adapter, scenario, url, warmUp, measure, most].map(String);
  return [process.execPath, '--expose-gc', program, ...args];
}

function measurable(scenario: string, adapter: string): boolean {
  if (adapter === 'kombu') return OF_KOMBU.includes(scenario);
  // These are about what libraries keep.
  if (scenario === 'unconfirmed' || scenario === 'idle-channels') return !adapter.startsWith('raw');
  return true;
}

export function nullBrokerCases(options: Options): Case[] {
  return casesOf(options, Object.keys(scenarios), nullBroker.name, () => ({ most: 1e12 }));
}

/** Messages put into a queue before they are consumed: more would only make the preparation longer. */
const STOCK = 60_000;

export function rabbitmqCases(options: Options): Case[] {
  const names = Object.entries(scenarios).flatMap(([name, { broker }]) => (broker === 'none' ? [] : name));
  return casesOf(options, names, rabbitmq.name, (scenario) => {
    const { broker, queue, bytes } = scenarioFacts(scenario);
    const stock = Math.min(STOCK, Math.floor(256e6 / Math.max(bytes, 1)));
    if (broker === 'drains') return { most: stock, prepare: () => prepareQueue(options.url, queue, stock) };
    return { most: 1e12, prepare: () => prepareQueue(options.url, broker === 'neutral' ? 'echo' : 'bench', 0) };
  });
}

function casesOf(
  options: Options,
  names: readonly string[],
  suite: string,
  plan: (scenario: string) => { readonly most: number; readonly prepare?: () => Promise<void> },
): Case[] {
  return names.flatMap((scenario) =>
    adapters
      .filter((adapter) => measurable(scenario, adapter) && options.wanted(scenario, adapter))
      .map((adapter) => {
        const { most, prepare } = plan(scenario);
        return { suite, scenario, adapter, prepare, command: commandFor(adapter, scenario, options, most) };
      }),
  );
}

function scenarioFacts(name: string): { broker: Scenario['broker']; queue: string; bytes: number } {
  const { broker } = scenarios[name] as Scenario;
  const queue = name
    .replace(/^consume-(ack-)?/, 'deliver-')
    .replace('1k', '1024')
    .replace('64k', '65536');
  const known: Record<string, string> = {
    'consume-celery': 'deliver-1024-celery',
    'consume-celery-read': 'deliver-1024-celery',
    'consumers-100': 'deliver-100',
  };
  const chosen = known[name] ?? queue;
  return { broker, queue: chosen, bytes: Number(/\d+/.exec(chosen)?.[0] ?? 200) };
}

/** An empty queue of that name, or one that holds so many of the messages that its name tells of. */
async function prepareQueue(url: string, queue: string, stock: number): Promise<void> {
  const connection = await connect(url);
  try {
    const channel = await connection.channel();
    // What nobody consumes must not fill the broker's memory.
    const args = { 'x-max-length-bytes': stock > 0 ? 1_000_000_000 : 64_000_000 };
    await channel.queueDelete(queue);
    await channel.queueDeclare(queue, { arguments: args, durable: false });
    if (stock === 0) return;
    await channel.confirmSelect();
    const [, kind = '', celery] = queue.split('-');
    const isJson = kind === 'json';
    const body = isJson ? Buffer.from(jsonText) : celery ? celeryBody : Buffer.alloc(Number(kind), 'x');
    const properties = isJson
      ? { contentType: 'application/json', contentEncoding: 'utf-8' }
      : celery
        ? celeryProperties
        : {};
    let last: Promise<void> | undefined;
    for (let i = 0; i < stock; i++) {
      last = channel.basicPublish('', queue, body, properties);
      if (i % 1000 === 999) await last;
    }
    await last;
  } finally {
    await connection.close();
  }
}

const titles = Object.entries(scenarios).map(([id, { title }]) => [id, title] as const);

export const nullBroker: Suite = { name: 'null broker', adapters, titles };
export const rabbitmq: Suite = { name: 'RabbitMQ', adapters, titles };
