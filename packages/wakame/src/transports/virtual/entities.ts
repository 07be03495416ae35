import { randomBytes } from 'node:crypto';
import { NotSupportedError } from '../../errors.js';
import type {
  Arguments,
  ExchangeBinding,
  ExchangeDeclareOptions,
  QueueBinding,
  QueueDeclareOk,
  QueueDeclareOptions,
} from '../../transport/contract.js';
import { canonical } from '../../util/canonical.js';
import { show } from '../../util/check.js';
import { didYouMean } from '../../util/nearest.js';
import type { BindingRecord, Driver, ExchangeRecord, ExchangeSettings, QueueStat } from './driver.js';
import { checkName } from './outgoing.js';
import { queueDifference, queueOptions } from './queue-arguments.js';
import { accessRefused, inequivalent, locked, notFound, precondition, reservedName } from './refusals.js';
import { EXCHANGE_TYPES, isExchangeType } from './routing/exchange.js';
import { MATCH_MODES } from './routing/headers.js';
import type { Router } from './routing/router.js';
import { copyTable } from './wire/copy.js';

const RESERVED = 'amq.';

/**
 * Declarations, bindings and deletions by RabbitMQ's rules: what exists may be declared again with the same settings; unbinding
 * and deleting what does not exist is no error; names beginning with `amq.` are the broker's own.
 */
export class Entities {
  readonly #driver: Driver;
  readonly #router: Router;
  readonly #holder: string;
  readonly #virtualHost: string;

  constructor(driver: Driver, router: Router, holder: string, virtualHost: string) {
    this.#driver = driver;
    this.#router = router;
    this.#holder = holder;
    this.#virtualHost = virtualHost;
  }

  // Exchanges ──────────────────────────────────────────────────────────────────────────────────────────────────────

  async exchangeDeclare(name: string, type: string, options: ExchangeDeclareOptions): Promise<void> {
    checkName('exchange', name);
    if (name === '') throw defaultExchange();
    if (options.passive === true) return void (await this.#exchange(name));
    if (!isExchangeType(type)) {
      const hint = didYouMean(type, EXCHANGE_TYPES);
      throw new NotSupportedError(`exchange '${name}' cannot be of type ${show(type)}${hint}`);
    }
    const settings = exchangeSettings(name, type, options);
    let current = (await this.#router.exchange(name, true))?.record;
    if (current === undefined || current.guessed === true) {
      if (name.startsWith(RESERVED)) throw reservedName('exchange', name);
      await this.#router.apply([{ kind: 'put-exchange', exchange: settings }]);
      // Somebody may have been faster, with other settings.
      current = (await this.#router.exchange(name, true))?.record;
    }
    if (current !== undefined) this.#compareExchange(settings, current);
  }

  async exchangeDelete(name: string, ifUnused: boolean): Promise<void> {
    checkName('exchange', name);
    if (name === '') throw defaultExchange();
    if (name.startsWith(RESERVED)) throw reservedName('exchange', name);
    const [deleted] = await this.#router.apply([{ kind: 'delete-exchange', name, ifUnused }]);
    if (deleted === false) throw precondition(`exchange '${name}' in vhost '${this.#virtualHost}' in use`);
  }

  async exchangeBind({ source, destination, routingKey, arguments: args = {} }: ExchangeBinding): Promise<void> {
    this.#checkBinding(source, routingKey, args);
    if (destination === '') throw defaultExchange();
    await Promise.all([this.#exchange(source), this.#exchange(destination)]);
    await this.#apply('bind', { source, destinationType: 'exchange', destination, routingKey, arguments: args });
  }

  async exchangeUnbind({ source, destination, routingKey, arguments: args = {} }: ExchangeBinding): Promise<void> {
    if (source === '' || destination === '') throw defaultExchange();
    await this.#apply('unbind', { source, destinationType: 'exchange', destination, routingKey, arguments: args });
  }

  // Queues ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  async queueDeclare(name: string, options: QueueDeclareOptions): Promise<QueueDeclareOk> {
    checkName('queue', name);
    if (options.passive === true) return declareOk(await this.queue(name));
    if (name.startsWith(RESERVED)) throw reservedName('queue', name);
    const queue = name === '' ? `amq.gen-${randomBytes(16).toString('base64url')}` : name;
    const wanted = queueOptions(queue, this.#virtualHost, options, this.#holder);
    if (wanted.singleActiveConsumer === true && !this.#driver.features.singleActiveConsumer) {
      throw new NotSupportedError(`queue '${queue}': this store cannot keep to x-single-active-consumer`);
    }
    const copied = { ...wanted, arguments: copyTable(wanted.arguments) };
    const [stat] = await this.#driver.declare([{ name: queue, options: copied }]);
    if (stat === undefined) throw notFound('queue', queue, this.#virtualHost);
    this.#checkLock(stat);
    const difference =
      stat.options === undefined ? undefined : queueDifference(queue, this.#virtualHost, wanted, stat.options);
    if (difference !== undefined) throw difference;
    return declareOk(stat);
  }

  async queueBind({ queue, exchange, routingKey, arguments: args = {} }: QueueBinding): Promise<void> {
    this.#checkBinding(exchange, routingKey, args);
    await Promise.all([this.queue(queue), this.#exchange(exchange)]);
    await this.#apply('bind', {
      source: exchange,
      destinationType: 'queue',
      destination: queue,
      routingKey,
      arguments: args,
    });
  }

  async queueUnbind({ queue, exchange, routingKey, arguments: args = {} }: QueueBinding): Promise<void> {
    if (exchange === '') throw defaultExchange();
    const [stat] = await this.#driver.stat([queue]);
    if (stat !== undefined) this.#checkLock(stat);
    await this.#apply('unbind', {
      source: exchange,
      destinationType: 'queue',
      destination: queue,
      routingKey,
      arguments: args,
    });
  }

  async queuePurge(name: string): Promise<number> {
    await this.queue(name);
    const [count] = await this.#driver.purge([name]);
    return count ?? 0;
  }

  async queueDelete(name: string, ifUnused: boolean, ifEmpty: boolean): Promise<number> {
    checkName('queue', name);
    const [stat] = await this.#driver.stat([name]);
    if (stat === undefined) return 0;
    this.#checkLock(stat);
    const [result] = await this.#driver.remove([{ queue: name, ifUnused, ifEmpty }]);
    if (result === 'used') throw precondition(`queue '${name}' in vhost '${this.#virtualHost}' in use`);
    if (result === 'not-empty') throw precondition(`queue '${name}' in vhost '${this.#virtualHost}' not empty`);
    return typeof result === 'number' ? result : 0;
  }

  /** The state of a queue that must exist and be ours to use. */
  async queue(name: string): Promise<QueueStat> {
    const [stat] = await this.#driver.stat([checkName('queue', name)]);
    if (stat === undefined) throw notFound('queue', name, this.#virtualHost);
    this.#checkLock(stat);
    return stat;
  }

  // Checks ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  async #exchange(name: string): Promise<ExchangeRecord> {
    const exchange = await this.#router.exchange(checkName('exchange', name), true);
    if (exchange === undefined) throw notFound('exchange', name, this.#virtualHost);
    return exchange.record;
  }

  async #apply(kind: 'bind' | 'unbind', binding: BindingRecord): Promise<void> {
    checkName('routing key', binding.routingKey);
    await this.#router.apply([{ kind, binding }]);
  }

  #checkBinding(source: string, routingKey: string, args: Arguments): void {
    checkName('exchange', source);
    checkName('routing key', routingKey);
    if (source === '') throw defaultExchange();
    const mode = args['x-match'];
    if (mode !== undefined && !MATCH_MODES.has(mode)) {
      throw precondition(`invalid x-match ${show(mode)}: expected ${[...MATCH_MODES].join(', ')}`);
    }
  }

  #checkLock(stat: QueueStat): void {
    const owner = stat.options?.exclusiveTo;
    if (owner !== undefined && owner !== this.#holder) throw locked(stat.name, this.#virtualHost);
  }

  #compareExchange(received: ExchangeSettings, current: ExchangeRecord): void {
    const compare = (setting: string, a: unknown, b: unknown) => {
      if (canonical(a) === canonical(b)) return;
      throw inequivalent(setting, 'exchange', received.name, this.#virtualHost, a, b);
    };
    compare('type', received.type, current.type);
    compare('durable', received.durable, current.durable);
    compare('auto_delete', received.autoDelete, current.autoDelete);
    compare('internal', received.internal, current.internal);
    const alternate = 'alternate-exchange';
    compare(alternate, received.arguments[alternate], current.arguments[alternate]);
  }
}

function exchangeSettings(name: string, type: string, options: ExchangeDeclareOptions): ExchangeSettings {
  const args = options.arguments ?? {};
  const alternate = args['alternate-exchange'];
  if (alternate !== undefined && typeof alternate !== 'string') {
    throw precondition(`invalid arg 'alternate-exchange' for exchange '${name}': ${show(alternate)} is not a string`);
  }
  return {
    name,
    type,
    durable: options.durable ?? false,
    autoDelete: options.autoDelete ?? false,
    internal: options.internal ?? false,
    arguments: copyTable(args),
  };
}

function declareOk({ name, messageCount, consumerCount }: QueueStat): QueueDeclareOk {
  return { queue: name, messageCount, consumerCount };
}

function defaultExchange(): Error {
  return accessRefused('operation not permitted on the default exchange');
}
