import { Binding, type BindingOptions } from './binding.js';
import type { Exchange } from './exchange.js';

export { Binding, type BindingOptions } from './binding.js';
export type { DeliveryMode } from './checks.js';
export type { Entity } from './declare.js';
export {
  type BindOptions,
  type DeclareOptions,
  Exchange,
  type ExchangeObject,
  type ExchangeOptions,
} from './exchange.js';
export { Queue } from './queue.js';
export type { BindingObject, QueueObject, QueueOptions } from './queue-options.js';
export type { ChannelOrConnection } from './target.js';

/** One of a queue's `bindings`: what it gets from `exchange`. */
export function binding(exchange: Exchange, options: BindingOptions = {}): Binding {
  return new Binding(exchange, options);
}
