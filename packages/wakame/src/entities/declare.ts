/**
 * Declaring entities through the connection's topology, which knows what stands already. The order is that of every
 * AMQP set-up: exchange, queue, binding, further bindings.
 */
import type { WaitOptions } from '../connection/managed-channel.js';
import type { Topology } from '../connection/topology.js';
import { InvalidArgumentError } from '../errors.js';
import { show } from '../util/check.js';
import { checkName } from './checks.js';
import type { Exchange } from './exchange.js';
import type { Queue } from './queue.js';

/** What can be declared. */
export type Entity = Exchange | Queue;

/** Whether a value is an exchange or a queue. */
export function isEntity(value: unknown): value is Entity {
  return typeof value === 'object' && value !== null && 'noDeclare' in value && 'name' in value;
}

/** The name of an exchange given as an object or by name. Throws INVALID_ARGUMENT for anything else. */
export function nameOf(exchange: Exchange | string): string {
  if (typeof exchange === 'string') return checkName('exchange', exchange);
  if (typeof exchange === 'object' && exchange !== null && 'deliveryMode' in exchange) return exchange.name;
  throw new InvalidArgumentError(`exchange must be an Exchange or a name, not ${show(exchange)}`);
}

/** Whether there is anything to declare: not for the default exchange and the broker's own. */
export function isDeclarable(exchange: Exchange): boolean {
  return !exchange.noDeclare && exchange.name !== '' && !exchange.name.startsWith('amq.');
}

/** Whether what is known of it stays true until somebody says otherwise: not for what may vanish by itself. */
export function isCacheable(entity: Entity): boolean {
  if (entity.autoDelete) return false;
  return !('routingKey' in entity) || entity.queueArguments?.['x-expires'] === undefined;
}

/** Declares an exchange unless the connection knows it. True when it was declared now. */
export async function declareExchange(
  exchange: Exchange,
  topology: Topology,
  options: WaitOptions & { readonly passive?: boolean | undefined } = {},
): Promise<boolean> {
  if (!isDeclarable(exchange)) return false;
  const { name, type, durable, autoDelete, internal } = exchange;
  const passive = options.passive ?? exchange.passive;
  return topology.declareExchange({
    ...options,
    ...{ name, type, durable, autoDelete, internal, passive, arguments: exchange.arguments },
  });
}

/**
 * Declares an exchange, or a queue with its exchange and bindings, unless the connection knows it. True when anything was
 * declared now. A queue without a name must be bound: its copy keeps the name that the broker chose.
 */
export async function declareEntity(entity: Entity, topology: Topology, wait: WaitOptions = {}): Promise<boolean> {
  if ('routingKey' in entity) return entity.ensureDeclared(topology, wait);
  return declareExchange(entity, topology, wait);
}
