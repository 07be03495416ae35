/**
 * Everything that a connection declares. Each declaration, binding and deletion, whoever asks for it, goes over a channel of the
 * topology's own, so that a refusal never kills a channel with publishes or consumers under way.
 *
 * - Declarations are cached by name and arguments, never for auto-delete, exclusive or expiring entities.
 * - What was declared is recorded and declared again after a loss, see `replay.ts`.
 */
import type { MessagingError } from '../errors.js';
import { NotFound } from '../errors.js';
import type {
  ExchangeBinding,
  ExchangeDeclareOptions,
  QueueBinding,
  QueueDeclareOk,
  QueueDeclareOptions,
  TransportChannel,
  TransportConnection,
} from '../transport/contract.js';
import { sleep } from '../util/abort.js';
import { jitteredBackoff } from '../util/backoff.js';
import { canonical } from '../util/canonical.js';
import { withDeadline } from '../util/deadline.js';
import { noop } from '../util/noop.js';
import { DEFAULTS } from './defaults.js';
import { type ChannelHost, ManagedChannel } from './managed-channel.js';
import { replay, replayOne } from './replay.js';
import {
  type AnyRecord,
  asExchangeBinding,
  type BindingRecord,
  exchangeFingerprint,
  mayVanish,
  queueFingerprint,
  TopologyRecord,
} from './topology-record.js';
import type { WaitOptions } from './waiters.js';

export interface DeclareExchange extends ExchangeDeclareOptions, WaitOptions {
  readonly name: string;
  readonly type: string;
}

export interface DeclareQueue extends QueueDeclareOptions, WaitOptions {
  /** '' lets the broker choose; the answer tells the name. */
  readonly name: string;
  /** A queue that the broker named has another name after a loss. */
  readonly onRenamed?: ((name: string, previous: string) => void) | undefined;
  /** Ask the broker even when the cache knows the queue: for counts of now. Default false. */
  readonly fresh?: boolean | undefined;
}

/** The answer to a declaration of a queue. `declared` is false when it came from the cache, with the counts of then. */
export interface QueueDeclared extends QueueDeclareOk {
  readonly declared: boolean;
}

interface DeleteQueue extends WaitOptions {
  readonly ifUnused?: boolean | undefined;
  readonly ifEmpty?: boolean | undefined;
}

/**
 * Methods reject with the broker's answer (NOT_FOUND, PRECONDITION_FAILED, ACCESS_REFUSED, RESOURCE_LOCKED, …), NOT_SUPPORTED, TIMEOUT,
 * CONNECTION_CLOSED, or the reason of `signal`. What a loss interrupts is repeated after recovery, within `timeout`
 * (30 s).
 */
export class Topology {
  readonly #host: ChannelHost;
  readonly #channel: ManagedChannel;
  /** For questions that are likely to be answered with NOT_FOUND, which closes the channel. */
  readonly #checker: ManagedChannel;
  readonly #record = new TopologyRecord();
  /** Declarations under way: those who ask for the same meanwhile share the answer. */
  readonly #underWay = new Map<string, Promise<unknown>>();
  /** Deletions of queues under way, by the name in the record. */
  readonly #removing = new Map<string, Promise<unknown>>();
  /** Ends the repeating of what could not be restored. */
  #repeating = new AbortController();

  constructor(host: ChannelHost) {
    this.#host = host;
    this.#channel = new ManagedChannel(host, 'consume', {});
    this.#checker = new ManagedChannel(host, 'consume', {});
  }

  /** Resolves with true when it was declared now, false when the cache knew it. */
  async declareExchange(exchange: DeclareExchange): Promise<boolean> {
    const { name, type, timeout, signal, ...options } = exchange;
    const wait = { timeout, signal };
    if (options.passive === true) {
      await this.#check((channel) => channel.exchangeDeclare(name, type, options), wait);
      return true;
    }
    const fingerprint = exchangeFingerprint(type, options);
    const known = this.#record.exchange(name);
    if (known?.known === true && known.fingerprint === fingerprint && !mayVanish(options)) return false;
    await this.#share(canonical(['exchange', name, fingerprint]), wait, async () => {
      await this.#run((channel) => channel.exchangeDeclare(name, type, options));
      this.#record.addExchange(name, type, options);
    });
    return true;
  }

  /** An answer from the cache has the counts of the last declaration. */
  async declareQueue(queue: DeclareQueue): Promise<QueueDeclared> {
    const { name: asked, onRenamed, fresh, timeout, signal, ...options } = queue;
    const wait = { timeout, signal };
    const name = this.currentName(asked);
    if (options.passive === true) {
      const answer = await this.#check((channel) => channel.queueDeclare(name, options), wait);
      return { ...answer, declared: true };
    }
    const fingerprint = queueFingerprint(options);
    const known = this.#record.queue(name);
    const cached = known?.known === true && known.fingerprint === fingerprint && !mayVanish(options);
    if (cached && fresh !== true) return { ...known.answer, declared: false };
    const declare = async (): Promise<QueueDeclared> => {
      const answer = await this.#run((channel) => channel.queueDeclare(name, options));
      this.#record.addQueue(name, answer, options, onRenamed);
      return { ...answer, declared: true };
    };
    // Each declaration without a name makes a queue of its own.
    if (name === '')
      return withDeadline(declare(), 'declare', { timeout: timeout ?? DEFAULTS.operationTimeout, signal });
    return this.#share(canonical(['queue', name, fingerprint]), wait, declare);
  }

  /** Resolves with true when it was bound now, false when the cache knew it. */
  bindQueue(binding: QueueBinding, wait: WaitOptions = {}): Promise<boolean> {
    return this.#bind('queue-binding', asExchangeBinding(binding), wait);
  }

  /** Binds an exchange to another one, and again after a loss. */
  bindExchange(binding: ExchangeBinding, wait: WaitOptions = {}): Promise<boolean> {
    return this.#bind('exchange-binding', binding, wait);
  }

  /** Undoes the binding of a queue, and forgets it. */
  async unbindQueue(binding: QueueBinding, wait: WaitOptions = {}): Promise<void> {
    await this.#run((channel) => channel.queueUnbind({ ...binding, queue: this.currentName(binding.queue) }), wait);
    this.#record.removeBinding('queue-binding', asExchangeBinding(binding));
  }

  /** Undoes `bindExchange`, and forgets it. */
  async unbindExchange(binding: ExchangeBinding, wait: WaitOptions = {}): Promise<void> {
    await this.#run((channel) => channel.exchangeUnbind(binding), wait);
    this.#record.removeBinding('exchange-binding', binding);
  }

  /** Deletes an exchange, and forgets it with its bindings. */
  async deleteExchange(
    name: string,
    options: WaitOptions & { readonly ifUnused?: boolean | undefined } = {},
  ): Promise<void> {
    const { ifUnused } = options;
    await this.#run((channel) => channel.exchangeDelete(name, { ifUnused }), options);
    this.#record.removeExchange(name);
  }

  /** Resolves with the number of messages that went with it. */
  async deleteQueue(name: string, options: DeleteQueue = {}): Promise<number> {
    const { ifUnused, ifEmpty } = options;
    const key = this.#record.nameOf(name);
    const remove = async () => {
      const given = { ifUnused, ifEmpty };
      const count = await this.#run((channel) => channel.queueDelete(this.currentName(name), given), options);
      this.#record.queueDeleted(name);
      return count;
    };
    const removing = remove().finally(() => {
      if (this.#removing.get(key) === removing) this.#removing.delete(key);
    });
    this.#removing.set(key, removing);
    return removing;
  }

  /** Resolves with the number of messages removed. */
  async purgeQueue(name: string, wait: WaitOptions = {}): Promise<number> {
    try {
      return await this.#run((channel) => channel.queuePurge(this.currentName(name)), wait);
    } catch (error) {
      if (isNotFound(error)) this.forget('queue', name);
      throw error;
    }
  }

  /**
   * Makes sure that a queue exists: declares it again as it is recorded, with its exchanges and bindings; or asks the broker, when
   * it was not declared here. Rejects NOT_FOUND in that case, and with whatever refuses the declaration.
   */
  ensureQueue(name: string, wait: WaitOptions = {}): Promise<void> {
    return this.#share(canonical(['ensure', name]), wait, () => this.#ensureQueue(name));
  }

  async #ensureQueue(name: string): Promise<void> {
    // Its consumers may hear of a deletion before we do, and must not undo it.
    await this.#removing.get(this.#record.nameOf(name))?.catch(noop);
    const queue = this.#record.queue(name);
    if (queue === undefined) {
      await this.#check((channel) => channel.queueDeclare(name, { passive: true }));
      return;
    }
    const bindings = this.#record.bindingsTo('queue-binding', queue.name);
    const sources = new Set(bindings.map((binding) => binding.source));
    const exchanges = this.#record.exchanges.filter((exchange) => sources.has(exchange.name));
    for (const record of [...exchanges, queue, ...bindings]) await this.#restoreOne(record);
  }

  /** Whether the queue was declared here on the present incarnation and nothing since said that it is gone. */
  isKnown(queue: string): boolean {
    return this.#record.queue(queue)?.known === true;
  }

  /** The same of an exchange. */
  isExchangeKnown(exchange: string): boolean {
    return this.#record.exchange(exchange)?.known === true;
  }

  /** Whether this connection declared the queue, so that it can be made again. */
  isRecorded(queue: string): boolean {
    return this.#record.queue(queue) !== undefined;
  }

  /**
   * Drops the cached knowledge of an entity, for example after a NOT_FOUND: the next declaration is sent. What must exist after a
   * loss stays recorded.
   */
  forget(kind: 'exchange' | 'queue', name: string): void {
    this.#record.forget(kind, name);
  }

  /** The present name of a queue that the broker named and a recovery renamed; any other name unchanged. */
  currentName(queue: string): string {
    return this.#record.queue(queue)?.current ?? queue;
  }

  /** Whether this program deletes the queue or has deleted it, with consumers of this connection, and not declared it again. */
  isDeletedHere(queue: string): boolean {
    return this.#removing.has(this.#record.nameOf(queue)) || this.#record.wasDeleted(queue);
  }

  /** For consumers: one of this connection started on the queue. Returns what to call when it is over for good. */
  consumerStarted(queue: string): () => void {
    return this.#record.consumerStarted(queue);
  }

  /** For the Connection: nothing is known of the next incarnation. */
  connectionLost(): void {
    this.#record.forgetAll();
    this.#repeating.abort();
  }

  /**
   * For the Connection: declares on a new incarnation all that is recorded. What is refused becomes a `problem` and takes nothing else
   * down. Rejects when the incarnation fails.
   */
  async restore(connection: TransportConnection): Promise<void> {
    this.#record.prune();
    this.#record.forgetAll();
    const refused = await replay(this.#record, connection, this.#host);
    this.#repeating.abort();
    this.#repeating = new AbortController();
    const again = refused.filter(({ error }) => error.recoverable).map(({ record }) => record);
    if (again.length > 0) void this.#repeat(again, this.#repeating.signal);
  }

  /** A queue that the connection before still locks is free once the broker has noticed its loss. */
  async #repeat(records: readonly AnyRecord[], signal: AbortSignal): Promise<void> {
    let left = records;
    for (let attempt = 0; left.length > 0; attempt++) {
      await sleep(jitteredBackoff(attempt, DEFAULTS.reopen), { signal }).catch(noop);
      if (signal.aborted) return;
      const failed: AnyRecord[] = [];
      for (const record of left) {
        await this.#restoreOne(record, { signal }).catch((error: MessagingError) => {
          if (error.recoverable) failed.push(record);
        });
        if (signal.aborted) return;
      }
      left = failed;
    }
  }

  async #restoreOne(record: AnyRecord, wait: WaitOptions = {}): Promise<void> {
    await this.#run((channel) => replayOne(this.#record, record, channel), wait);
  }

  async #bind(kind: BindingRecord['kind'], binding: ExchangeBinding, wait: WaitOptions): Promise<boolean> {
    const known = this.#record.binding(kind, binding);
    if (known?.known === true && this.#endsStay(kind, binding)) return false;
    const { source, destination, routingKey } = binding;
    const args = binding.arguments;
    const bind = () =>
      this.#run((channel) =>
        kind === 'exchange-binding'
          ? channel.exchangeBind(binding)
          : channel.queueBind({ queue: this.currentName(destination), exchange: source, routingKey, arguments: args }),
      );
    await this.#share(canonical([kind, source, destination, routingKey, args]), wait, async () => {
      try {
        await bind();
      } catch (error) {
        if (!isNotFound(error) || !(await this.#restoreEnds(kind, binding))) throw error;
        await bind();
      }
      this.#record.addBinding(kind, binding);
    });
    return true;
  }

  /**
   * An end of a binding is gone, and which is not said: those that were declared here are declared again. False when none was known to
   * stand, so that it cannot help.
   */
  async #restoreEnds(kind: BindingRecord['kind'], { source, destination }: ExchangeBinding): Promise<boolean> {
    const isQueue = kind === 'queue-binding';
    const end = isQueue ? this.#record.queue(destination) : this.#record.exchange(destination);
    const ends = [this.#record.exchange(source), end].filter((record) => record?.known === true);
    this.forget('exchange', source);
    this.forget(isQueue ? 'queue' : 'exchange', destination);
    for (const record of ends) if (record !== undefined) await this.#restoreOne(record);
    return ends.length > 0;
  }

  /** A binding goes with either of its ends. */
  #endsStay(kind: BindingRecord['kind'], binding: ExchangeBinding): boolean {
    const isQueue = kind === 'queue-binding';
    const end = isQueue ? this.#record.queue(binding.destination) : this.#record.exchange(binding.destination);
    const source = this.#record.exchange(binding.source);
    return !(end !== undefined && mayVanish(end.options)) && !(source !== undefined && mayVanish(source.options));
  }

  /**
   * Runs `task` once for all who ask for it at the same time. It is bounded by the default deadline; each who asks by its
   * own.
   */
  #share<T>(key: string, wait: WaitOptions, task: () => Promise<T>): Promise<T> {
    let shared = this.#underWay.get(key) as Promise<T> | undefined;
    if (shared === undefined) {
      shared = task().finally(() => this.#underWay.delete(key));
      this.#underWay.set(key, shared);
    }
    return withDeadline(shared, 'declare', {
      timeout: wait.timeout ?? DEFAULTS.operationTimeout,
      signal: wait.signal,
    });
  }

  #check<T>(operation: (channel: TransportChannel) => Promise<T>, wait: WaitOptions = {}): Promise<T> {
    return this.#checker.run(operation, { timeout: wait.timeout, signal: wait.signal, idempotent: true });
  }

  async #run<T>(operation: (channel: TransportChannel) => Promise<T>, wait: WaitOptions = {}): Promise<T> {
    return this.#channel.run(operation, { timeout: wait.timeout, signal: wait.signal, idempotent: true });
  }
}

/** Whether an error says that an entity does not exist; not of one whose node is away, which says 404 as well. */
export function isNotFound(error: unknown): boolean {
  return error instanceof NotFound && !error.recoverable;
}
