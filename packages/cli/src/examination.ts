/** What `wakame doctor` tries and looks at. */
import { type Connection, type MessagingError, uuid } from 'wakame';
import { plural, time } from './parse.js';
import { roundTrip } from './probe.js';

export interface Finding {
  readonly state: 'ok' | 'warning' | 'failed';
  readonly what: string;
  readonly detail?: string | undefined;
  /** Of the error. */
  readonly code?: string | undefined;
  readonly cure?: string | undefined;
}

/** Milliseconds: more is slow for a broker nearby. */
const SLOW = 100;
/** Milliseconds for one message to come. */
const PATIENCE = 10_000;
const DELAY = 200;
/** A queue with so many messages and nobody who takes them was forgotten. */
const MANY = 1_000;

/** One finding after the other, as they are made. */
export async function* examine(connection: Connection, signal: AbortSignal): AsyncGenerator<Finding> {
  const latency = await roundTrip(connection, signal);
  const isSlow = latency > SLOW;
  yield {
    state: isSlow ? 'warning' : 'ok',
    what: 'answers',
    detail: `in ${time(latency)}`,
    cure: 'Each request takes as long. Publish many at a time, consume with a prefetch of some hundreds, and be near to the broker.',
  };
  const { heartbeat } = await connection.ready({ signal });
  if (connection.transport?.features.heartbeats === true) {
    yield {
      state: heartbeat === 0 ? 'warning' : 'ok',
      what: 'heartbeats',
      detail: heartbeat === 0 ? 'none' : `every ${time(heartbeat)}`,
      cure: 'Without them a dead connection goes unnoticed for many minutes. Leave out heartbeat=0, here and in rabbitmq.conf.',
    };
  }
  yield* estate(connection, signal);
  yield* messages(connection, signal);
}

/** The life of a message, from end to end. */
async function* messages(connection: Connection, signal: AbortSignal): AsyncGenerator<Finding> {
  const name = `wakame.doctor.${uuid()}`;
  const channel = connection.channel();
  const declared = await attempt('declares a queue', async () => {
    await channel.queueDeclare(name, { durable: false, arguments: { 'x-expires': 60_000 }, signal });
  });
  yield declared;
  if (declared.state === 'failed') return;
  try {
    const publish = (options: object) =>
      connection.producer().publish('hello', { routingKey: name, signal, ...options });
    yield await attempt('publishes with confirms', () => publish({ mandatory: true }));
    yield await attempt('delivers and acknowledges', () => receive(connection, name, signal));
    yield await attempt('delays messages', async () => {
      const start = performance.now();
      await publish({ delay: DELAY });
      await receive(connection, name, signal);
      if (performance.now() - start < DELAY) throw new Error('it came too early');
    });
  } finally {
    await channel.queueDelete(name);
    await channel.close();
  }
}

async function receive(connection: Connection, queue: string, signal: AbortSignal): Promise<void> {
  const stop = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]);
  for await (const message of connection.consumer(queue, { signal: stop })) {
    await message.ack();
    return;
  }
}

/** What stands there, and what that leads to. */
async function* estate(connection: Connection, signal: AbortSignal): AsyncGenerator<Finding> {
  const listed = await attempt('lists queues', () => connection.catalog.queues({ signal }));
  if (listed.state === 'failed') {
    yield {
      ...listed,
      state: 'warning',
      cure: 'Enable the management plug-in (rabbitmq-plugins enable rabbitmq_management), and name its port by manager_port. Only `list` and completion need it.',
    };
    return;
  }
  yield listed;
  const queues = await connection.catalog.queues({ signal });
  const forgotten = queues.filter(({ messageCount = 0, consumerCount }) => messageCount >= MANY && consumerCount === 0);
  if (forgotten.length > 0) {
    yield {
      state: 'warning',
      what: 'queues that nobody takes from',
      detail: forgotten.map(({ name, messageCount = 0 }) => `${name} (${plural(messageCount, 'message')})`).join(', '),
      cure: 'Start a consumer, delete the queue, or limit it (declare queue --max-length, --expires).',
    };
  }
  const bindings = await connection.catalog.bindings({ signal });
  const sources = new Set(bindings.map(({ source }) => source));
  const deaf = (await connection.catalog.exchanges({ signal })).filter(
    ({ name, arguments: args }) =>
      name !== '' &&
      !name.startsWith('amq.') &&
      !isCommon(name) &&
      !sources.has(name) &&
      args['alternate-exchange'] === undefined,
  );
  if (deaf.length > 0) {
    yield {
      state: 'warning',
      what: 'exchanges that pass nothing on',
      detail: deaf.map(({ name }) => name).join(', '),
      cure: 'What is published there is dropped. Bind a queue, name an alternate exchange, or publish with mandatory.',
    };
  }
  const names = new Set(queues.map(({ name }) => name));
  const lost = queues.filter(({ arguments: args }) => {
    // Those that come and go by themselves belong to delayed messages.
    if (args['x-expires'] !== undefined) return false;
    const key = args['x-dead-letter-routing-key'];
    return args['x-dead-letter-exchange'] === '' && typeof key === 'string' && !names.has(key);
  });
  if (lost.length > 0) {
    yield {
      state: 'warning',
      what: 'queues whose dead letters go nowhere',
      detail: lost
        .map(({ name, arguments: args }) => `${name} (to ${String(args['x-dead-letter-routing-key'])})`)
        .join(', '),
      cure: 'Declare the queue that x-dead-letter-routing-key names: rejected messages are dropped until then.',
    };
  }
}

/** Exchanges of mailboxes and of Celery's events stand, whether anybody listens or not. */
function isCommon(name: string): boolean {
  return name.endsWith('.pidbox') || name === 'celeryev';
}

async function attempt(what: string, run: () => Promise<unknown>): Promise<Finding> {
  const start = performance.now();
  try {
    await run();
    return { state: 'ok', what, detail: time(performance.now() - start) };
  } catch (error) {
    const { message, code } = error as MessagingError;
    return { state: 'failed', what, detail: message, code };
  }
}
