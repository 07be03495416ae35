import { type MessagingError, NotSupportedError, RecoverableConnectionError } from '../../errors.js';
import { noop } from '../../util/noop.js';
import type {
  AttachResult,
  ConsumerRecord,
  Driver,
  DriverFeatures,
  Herald,
  OpenDriver,
  Outbound,
  QueueHints,
  QueueOptions,
  QueueStat,
  RemoveRequest,
  RemoveResult,
  SendResult,
  Settlement,
  StoredMessage,
  SweepResult,
  Taken,
  TakeOptions,
  TakeRequest,
} from '../virtual/driver.js';
import { parseJson, writeJson } from '../virtual/wire/index.js';
import { classify } from './classify.js';
import { fieldsOf, readMessage } from './messages.js';
import { redisSettings } from './options.js';
import { Session } from './session.js';
import type { RedisTable } from './table.js';

/** Messages to take, or leases, of one script at most: a script keeps everybody else waiting. */
const BATCH = 500;
/** While the server stores so many, the next ones are written. */
const SEND_BATCH = 128;
/** Leases, in milliseconds. */
const DEFAULT_LEASE = 30_000;

/** What a take gives as its lease. */
class RedisLease {
  readonly field: string;
  readonly queue: string;

  constructor(field: string, queue: string) {
    this.field = field;
    this.queue = queue;
  }
}

/** What a driver made by hand is told; all else comes from the URL. */
export interface RedisDriverOptions {
  /** Milliseconds after which a message that is held and not renewed goes back. Default 30 s. */
  readonly lease?: number | undefined;
}

/**
 * The driver of `redis://` and its kin: Kombu's layout, with what that has no place for in keys beside it. Whatever has to be one step is one
 * script.
 */
export class RedisDriver implements Driver {
  /** The lease and the order of priorities are those of the options, once it was opened. */
  features: DriverFeatures;
  readonly herald: Herald;
  readonly #defaultLease: number;
  #session: Session | undefined;
  /** How to connect once more, to retire: while the holder may have something that is its own. */
  #last: OpenDriver | undefined;

  constructor(options: RedisDriverOptions = {}) {
    this.#defaultLease = options.lease ?? DEFAULT_LEASE;
    this.features = {
      synchronous: false,
      priority: 'lowest-first',
      requeuePosition: 'back',
      delay: true,
      messageTtl: true,
      queueTtl: true,
      maxLength: true,
      singleActiveConsumer: true,
      atomicSend: false,
      transactions: false,
      persistent: true,
      multiProcess: true,
      lease: this.#defaultLease,
      longPoll: false,
      pollInterval: undefined,
      sweepInterval: undefined,
      maxMessageBytes: undefined,
      sendBatch: SEND_BATCH,
    };
    this.herald = { publish: (messages, exchanges) => this.#open.fanout.announce(messages, exchanges) };
  }

  async open(options: OpenDriver): Promise<void> {
    this.#session?.close();
    this.#session = undefined;
    const settings = redisSettings(options.parameters, this.#defaultLease);
    const session = await Session.open(settings, options);
    this.features = {
      ...this.features,
      lease: settings.lease,
      priority: settings.highestFirst ? 'highest-first' : 'lowest-first',
    };
    this.#last = options;
    this.#session = session;
  }

  async close(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    if (!session?.isOpen) return;
    if (!(await session.leave())) this.#last = undefined;
  }

  async retire(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    if (session?.isOpen) await session.retire();
    else if (this.#last !== undefined) await this.#retireAlone(this.#last);
    this.#last = undefined;
  }

  /** Connects once more to give back what is held. Where that fails, the leases end by themselves. */
  async #retireAlone(options: OpenDriver): Promise<void> {
    try {
      const settings = redisSettings(options.parameters, this.#defaultLease);
      const signal = AbortSignal.timeout(Math.min(1000, settings.connectTimeout));
      const session = await Session.open(settings, { ...options, lost: noop, signal });
      await session.retire();
    } catch {
      // The store is not to be reached: others will find the leases lapsed.
    }
  }

  async info(): Promise<Readonly<Record<string, unknown>>> {
    const { server, label, tracking } = this.#open.links;
    const product = server.get('valkey_version') === undefined ? 'Redis' : 'Valkey';
    const version = server.get('valkey_version') ?? server.get('redis_version') ?? 'unknown';
    return { product, version, host: label, mode: server.get('redis_mode') ?? 'unknown', tracking };
  }

  classify(error: unknown): MessagingError {
    return classify(error);
  }

  // Queues ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  async declare(
    queues: readonly { readonly name: string; readonly options: QueueOptions }[],
  ): Promise<readonly QueueStat[]> {
    const answer = (await this.#open.run('DECLARE', queues.flatMap(declaration))) as (number | string)[];
    return queues.map(({ name }, i) => toStat(name, answer.slice(i * 3, i * 3 + 3)));
  }

  async remove(requests: readonly RemoveRequest[]): Promise<readonly RemoveResult[]> {
    const args = requests.flatMap(({ queue, ifUnused, ifEmpty }) => [queue, ifUnused ? '1' : '', ifEmpty ? '1' : '']);
    const session = this.#open;
    const answer = (await session.run('REMOVE', args)) as number[];
    await session.fanout.gone(requests.flatMap(({ queue }, i) => ((answer[i] ?? -1) >= 0 ? [queue] : [])));
    return answer.map((result) => {
      if (result >= 0) return result;
      return result === -1 ? 'missing' : result === -2 ? 'used' : 'not-empty';
    });
  }

  /** See {@link Driver.stat}. */
  async stat(queues: readonly string[]): Promise<readonly (QueueStat | undefined)[]> {
    if (queues.length === 0) return [];
    const { table } = this.#open;
    const answer = (await this.#open.run('STAT', [...queues])) as (number | string)[];
    return queues.map((queue, i) => {
      const [ready, ...rest] = answer.slice(i * 3, i * 3 + 3);
      if (ready !== -1) return toStat(queue, [ready as number, ...rest]);
      return table.isBoundByOthers(queue) ? toStat(queue, [0, ...rest]) : undefined;
    });
  }

  async purge(queues: readonly string[]): Promise<readonly number[]> {
    return (await this.#open.run('PURGE', [...queues])) as number[];
  }

  async list(): Promise<readonly string[]> {
    return (await this.#open.run('LIST', [])) as string[];
  }

  async peek(queue: string, limit: number): Promise<readonly StoredMessage[]> {
    const texts = (await this.#open.run('PEEK', [queue, limit])) as string[];
    return texts.map((text) => readMessage(text, queue).message);
  }

  // Messages ───────────────────────────────────────────────────────────────────────────────────────────────────────

  async send(
    messages: readonly Outbound[],
    options: { readonly transaction?: unknown } = {},
  ): Promise<readonly SendResult[]> {
    if (options.transaction !== undefined) throw new NotSupportedError('Redis has no transactions to publish in');
    return await this.#open.sender.send(messages);
  }

  async take(requests: readonly TakeRequest[], options: TakeOptions): Promise<readonly Taken[]> {
    const session = this.#open;
    if (requests.length === 0) return this.#takenBefore(session, options.requestId);
    const { holder, settings, waiting } = session;
    const args = [holder.id, options.requestId, settings.lease, options.limit, options.order];
    const wanted = requests.flatMap(({ queue, credit, noAck }) => [queue, Math.min(credit, BATCH), noAck ? '1' : '']);
    const answer = await session.run('TAKE', [...args, ...wanted]);
    const [head, runs, texts] = answer as [readonly number[], readonly number[], readonly string[]];
    requests.forEach(({ queue }, i) => {
      // Two requests for one queue, with and without acknowledgement, end alike: the last one tells.
      const [left = 0, takers = 0, nextDelayed = -1, incarnation = 0] = head.slice(i * 4, i * 4 + 4);
      waiting.taken(queue, { left: left === 1, takers, nextDelayed, incarnation });
    });
    if (texts.length > 0) session.tookLeases();
    const taken: Taken[] = [];
    for (let at = 0; at < runs.length; at += 3) {
      const [index = 0, step = 0, count = 0] = runs.slice(at, at + 3);
      const { queue, noAck } = requests[index - 1] as TakeRequest;
      const fieldOf = fieldsOf(holder.id, options.requestId, step, head[index * 4 - 1] ?? 0);
      const end = taken.length + count;
      while (taken.length < end) {
        const text = texts[taken.length] as string;
        taken.push(this.#toTaken(session, queue, noAck ? '' : fieldOf(taken.length + 1), text));
      }
    }
    return taken;
  }

  async #takenBefore(session: Session, requestId: number): Promise<readonly Taken[]> {
    const reply = (await session.run('TAKEN', [session.holder.id, requestId])) as string[];
    const taken: Taken[] = [];
    for (let at = 0; at < reply.length; at += 3) {
      taken.push(this.#toTaken(session, reply[at] as string, reply[at + 1] as string, reply[at + 2] as string));
    }
    return taken;
  }

  #toTaken(session: Session, queue: string, field: string, text: string): Taken {
    const { message, redelivered, returns, error } = readMessage(text, queue);
    if (error !== undefined) session.problem(error);
    return {
      queue,
      message,
      lease: field === '' ? undefined : new RedisLease(field, queue),
      redelivered,
      deliveryCount: returns,
    };
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly boolean[]> {
    const session = this.#open;
    const calls: Promise<readonly boolean[]>[] = [];
    for (let at = 0; at < settlements.length; at += BATCH) {
      calls.push(this.#settleBatch(session, settlements.slice(at, at + BATCH)));
    }
    return calls.length === 1 ? (calls[0] as Promise<readonly boolean[]>) : (await Promise.all(calls)).flat();
  }

  async #settleBatch(session: Session, settlements: readonly Settlement[]): Promise<readonly boolean[]> {
    const args: string[] = [session.holder.id];
    let fields: string[] = [];
    settlements.forEach(({ lease, outcome }, i) => {
      const { field, queue } = lease as RedisLease;
      fields.push(field);
      const next = settlements[i + 1];
      if (next?.outcome === outcome && (next.lease as RedisLease).queue === queue) return;
      args.push(queue, outcome, fields.join('\n'));
      fields = [];
    });
    const answer = (await session.run('SETTLE', args)) as number[] | 1;
    return answer === 1 ? new Array<boolean>(settlements.length).fill(true) : answer.map((ours) => ours === 1);
  }

  async extend(leases: readonly unknown[]): Promise<readonly boolean[]> {
    return this.#open.extend(leases as readonly RedisLease[]);
  }

  async sweep(limit: number): Promise<SweepResult> {
    const session = this.#open;
    const { returned, deletedQueues, bodies } = await session.sweep(Math.min(limit, BATCH));
    await session.fanout.gone(deletedQueues);
    const expired: Taken[] = [];
    const overflowed: Taken[] = [];
    for (const { kind, queue, field, text } of bodies) {
      const taken = this.#toTaken(session, queue, field, text);
      if (kind === 'o') overflowed.push(taken);
      else expired.push({ ...taken, expired: true });
    }
    return { returned, expired, overflowed, deletedQueues };
  }

  async watch(queues: readonly string[], hints: QueueHints): Promise<void> {
    const { waiting, fanout } = this.#open;
    await waiting.watch(queues, {
      ready: hints.ready,
      gone: (queue) => {
        void fanout.gone([queue]);
        hints.gone(queue);
      },
    });
  }

  // Consumers ──────────────────────────────────────────────────────────────────────────────────────────────────────

  async attach(consumers: readonly ConsumerRecord[]): Promise<readonly AttachResult[]> {
    const session = this.#open;
    const args = [session.holder.id, ...consumers.flatMap(consumerArguments)];
    const bound = consumers.flatMap(({ queue }) => (session.table.isBoundByOthers(queue) ? [queue] : []));
    const answer = (await session.run('ATTACH', [bound.join('\0'), ...args])) as number[];
    const results = consumers.map(({ queue }, i): AttachResult => {
      const [result = -1, incarnation = 0] = answer.slice(i * 2, i * 2 + 2);
      if (result >= 0) session.waiting.stands(queue, incarnation);
      if (result >= 0) return result;
      return result === -1 ? 'missing' : result === -2 ? 'locked' : 'refused';
    });
    const attached = consumers.filter((_, i) => typeof results[i] === 'number');
    try {
      await session.fanout.attached(attached.map(({ queue }) => queue));
    } catch (error) {
      await session.run('DETACH', [session.holder.id, ...attached.flatMap(consumerArguments)]);
      throw error;
    }
    return results;
  }

  async detach(consumers: readonly ConsumerRecord[]): Promise<readonly number[]> {
    const session = this.#open;
    await session.fanout.detached(consumers.map(({ queue }) => queue));
    return (await session.run('DETACH', [session.holder.id, ...consumers.flatMap(consumerArguments)])) as number[];
  }

  get table(): RedisTable {
    return this.#open.table;
  }

  get #open(): Session {
    if (this.#session?.isOpen) return this.#session;
    throw new RecoverableConnectionError('the connection to Redis is gone');
  }
}

function consumerArguments({ queue, tag, exclusive }: ConsumerRecord): string[] {
  return [queue, tag, exclusive ? 'x' : '-'];
}

function declaration({
  name,
  options,
}: {
  readonly name: string;
  readonly options: QueueOptions;
}): (string | number)[] {
  const { exclusiveTo, messageTtl, expires, maxLength, maxLengthBytes, overflow } = options;
  return [
    name,
    writeJson(options, { typed: true }),
    exclusiveTo ?? '',
    messageTtl ?? '',
    expires ?? '',
    maxLength ?? '',
    maxLengthBytes ?? '',
    overflow === undefined || overflow === 'drop-head' ? '' : 'r',
    options.deadLetter ? '1' : '',
    options.autoDelete ? '1' : '',
    options.singleActiveConsumer === true ? '1' : '',
  ];
}

function toStat(name: string, [ready = 0, consumers = 0, options = '']: readonly (number | string)[]): QueueStat {
  const text = String(options);
  return {
    name,
    messageCount: Number(ready),
    consumerCount: Number(consumers),
    options: text === '' ? undefined : (parseJson(text) as QueueOptions),
  };
}
