import { buildCommand } from '@stricli/core';
import { MessagingError, type Producer, type PublishOptions } from 'wakame';
import { bodies, encode, SERIALIZERS, type Serializer } from '../bodies.js';
import type { Context } from '../context.js';
import { EXIT, Failure, UsageError } from '../exit-codes.js';
import {
  type CommonFlags,
  common,
  commonAliases,
  number,
  optionalArgument,
  pairs,
  perSecond,
  text,
  time,
  toggle,
} from '../flags.js';
import { type Pair, plural, table } from '../parse.js';
import { pause } from '../pause.js';
import { properties } from '../properties.js';
import { type Connected, type Session, withConnection } from '../session.js';

interface Flags extends CommonFlags {
  readonly queue?: string | undefined;
  readonly file?: string | undefined;
  readonly lines: boolean;
  readonly header?: readonly Pair[] | undefined;
  readonly property?: readonly Pair[] | undefined;
  readonly serializer?: Serializer | undefined;
  readonly compression?: string | undefined;
  readonly delay?: number | undefined;
  readonly mandatory: boolean;
  readonly confirm: boolean;
  readonly rate?: number | undefined;
  readonly repeat?: number | undefined;
}

/** Publishes under way at one time. */
const WINDOW = 1_000;

export const publish = buildCommand({
  docs: {
    brief: 'Publish messages to an exchange, or straight to a queue',
    fullDescription:
      'Publishes a body given as an argument, in a file, or on standard input, and ends when the broker has taken responsibility for it.\n' +
      'A body that is JSON is sent as JSON, other text as text, anything else as bytes.',
    customUsage: [
      '[options] [exchange] [routing-key] [body]',
      { input: `--queue orders '{"id": 1}'`, brief: 'To a queue; fails when there is no such queue' },
      { input: `events order.created '{"id": 1}' --header source=shell`, brief: 'To an exchange, with a header' },
      { input: '--queue orders --lines --file orders.ndjson', brief: 'Each line of a file is a message' },
      { input: '--queue orders - < order.json', brief: 'What comes on standard input' },
      { input: `--queue orders '{}' --repeat 1000 --rate 100`, brief: 'A thousand messages in ten seconds' },
    ],
  },
  parameters: {
    flags: {
      ...common,
      queue: text('queue', 'Straight to this queue, by the default exchange; implies --mandatory'),
      file: text('path', "Read the body from a file ('-': standard input)"),
      lines: toggle('Each line of the input that is not empty is a message'),
      header: pairs('A header; the value is read as JSON where it is JSON. May be repeated'),
      property: pairs('A property (correlation-id, reply-to, priority, expiration, …). May be repeated'),
      serializer: {
        kind: 'enum',
        values: SERIALIZERS,
        optional: true,
        brief: 'Write the body, given in JSON, as json, yaml or msgpack; or as text or raw, as it stands',
      },
      compression: text('name', 'Compress the body: zlib, zstd, brotli …'),
      delay: time('Nobody gets the message before this time has passed'),
      mandatory: toggle('Fail when no queue takes the message'),
      confirm: {
        kind: 'boolean',
        brief: 'Wait until the broker has taken responsibility for each message; --no-confirm does not',
        default: true,
      },
      rate: perSecond('At most so many messages a second'),
      repeat: number('Publish each body so often'),
    },
    aliases: { ...commonAliases, q: 'queue', f: 'file', l: 'lines', p: 'property', r: 'repeat' },
    positional: {
      kind: 'tuple',
      parameters: [
        optionalArgument('exchange', "'' is the default exchange; with --queue, the body stands here"),
        optionalArgument('routing-key', 'Which queues get it, by the rules of the exchange'),
        optionalArgument('body', "What to publish; '-': what comes on standard input"),
      ],
    },
  },
  func(this: Context, flags: Flags, first?: string, second?: string, third?: string) {
    return withConnection(this, flags, async (session) => {
      const { queue } = flags;
      if (queue !== undefined && second !== undefined) {
        throw new UsageError('with --queue there is no exchange and no routing key: only the body');
      }
      const exchange = queue === undefined ? first : '';
      if (exchange === undefined) throw new UsageError('where to? Name an exchange and a routing key, or --queue');
      const options: PublishOptions = {
        ...properties(flags.property),
        exchange,
        routingKey: queue ?? second ?? '',
        headers: table(flags.header),
        compression: flags.compression,
        delay: flags.delay,
        // Without it the producer still hears of what came back.
        mandatory: (flags.mandatory || queue !== undefined) && flags.confirm ? true : undefined,
        confirm: flags.confirm,
      };
      if (flags.serializer !== undefined && options.contentType !== undefined) {
        throw new UsageError('--serializer and --property content-type exclude each other');
      }
      const argument = queue === undefined ? third : first;
      try {
        await send(session, flags, options, bodies(argument, flags, this.host.stdin, session.signal));
      } catch (error) {
        // The default exchange leads to every queue by its name.
        const isAbsent = queue !== undefined && error instanceof MessagingError && error.code === 'UNROUTABLE';
        throw isAbsent ? new Failure(`there is no queue '${queue}'`, EXIT.notFound) : error;
      }
    });
  },
});

async function send(
  { connection, out, signal }: Connected,
  flags: Flags,
  options: PublishOptions,
  input: AsyncIterable<Uint8Array>,
): Promise<void> {
  let unroutable = 0;
  const producer = connection.producer({ onReturn: () => void unroutable++ });
  const state = new Sending(producer, out, flags.rate);
  const progress = out.progress(() => `published ${plural(state.published, 'message')}`);
  try {
    for await (const body of input) await publishOne(state, flags, options, body, signal, () => progress.tick());
  } catch (error) {
    // Whoever waits for input is told so, too. What is under way comes to its end.
    if (error !== signal.reason) throw error;
  }
  await state.finish();
  progress.done();
  if (unroutable > 0) out.warn(`no queue took ${plural(unroutable, 'message')}`);
  await out.result({ published: state.published, unroutable }, () => `published ${plural(state.published, 'message')}`);
}

/** One body, as often as it is wanted. */
async function publishOne(
  state: Sending,
  flags: Flags,
  options: PublishOptions,
  given: Uint8Array,
  signal: AbortSignal,
  done: () => void,
): Promise<void> {
  const { body, ...content } = options.contentType === undefined ? encode(given, flags.serializer) : { body: given };
  for (let i = 0; i < (flags.repeat ?? 1); i++) {
    if (!(await state.ready(signal))) throw signal.reason;
    state.publish(body, { ...options, ...content });
    done();
  }
}

/** Publishes under way: many at a time, and the first failure ends it. */
class Sending {
  published = 0;
  readonly #producer: Producer;
  readonly #under: Set<Promise<void>> = new Set();
  readonly #pause: number;
  readonly #out: Session['out'];
  #due = performance.now();
  #failure: { readonly error: unknown } | undefined;

  constructor(producer: Producer, out: Session['out'], rate: number | undefined) {
    this.#producer = producer;
    this.#out = out;
    this.#pause = rate === undefined ? 0 : 1000 / rate;
  }

  /** Waits until the next may go. False when the command shall end. Rejects with the first failure. */
  async ready(signal: AbortSignal): Promise<boolean> {
    await this.#producer.ready();
    while (this.#under.size >= WINDOW) await Promise.race(this.#under);
    const wait = this.#due - performance.now();
    if (this.#pause > 0) {
      if (wait > 0) await pause(wait, signal);
      this.#due = Math.max(this.#due, performance.now() - 1000) + this.#pause;
    }
    if (this.#failure !== undefined) await this.finish();
    return !signal.aborted;
  }

  publish(body: Uint8Array, options: PublishOptions): void {
    const one = this.#producer
      .publish(body, options)
      .then(
        () => {
          this.published++;
        },
        (error: unknown) => {
          this.#failure ??= { error };
        },
      )
      .finally(() => this.#under.delete(one));
    this.#under.add(one);
  }

  /** Waits until all is settled; rejects with the first failure. */
  async finish(): Promise<void> {
    while (this.#under.size > 0) await Promise.all(this.#under);
    await this.#producer.flush();
    // What came back is told in a turn of its own.
    await new Promise((resolve) => setImmediate(resolve));
    if (this.#failure === undefined) return;
    const { error } = this.#failure;
    if (this.published > 0) this.#out.warn(`${plural(this.published, 'message')} had been published before`);
    if (error instanceof MessagingError && error.outcome === 'unknown') {
      this.#out.warn('whether the broker has the message that failed is not known');
    }
    throw error;
  }
}
