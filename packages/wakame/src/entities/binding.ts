import type { WaitOptions } from '../connection/managed-channel.js';
import type { Arguments } from '../transport/message.js';
import { checkKeys } from '../util/check.js';
import { checkArguments, checkName, sameArguments } from './checks.js';
import { declareExchange } from './declare.js';
import type { Exchange } from './exchange.js';
import type { Queue } from './queue.js';
import { type ChannelOrConnection, checkTarget } from './target.js';

/** What a binding asks of its exchange. */
export interface BindingOptions {
  /** Default `''`. */
  readonly routingKey?: string | undefined;
  /** What a headers exchange matches; others ignore it. Default: none. */
  readonly arguments?: Arguments | undefined;
  /** Arguments to unbind with, when they are not those of the binding. */
  readonly unbindArguments?: Arguments | undefined;
}

const OPTIONS: ReadonlySet<string> = new Set(['routingKey', 'arguments', 'unbindArguments']);

/** What a queue gets from an exchange (`kombu.binding`): one of the `bindings` of a {@link Queue}. It never changes. */
export class Binding {
  readonly exchange: Exchange;
  readonly routingKey: string;
  readonly arguments: Arguments | undefined;
  readonly unbindArguments: Arguments | undefined;

  constructor(exchange: Exchange, options: BindingOptions = {}) {
    checkKeys('binding', options, OPTIONS);
    this.exchange = exchange;
    this.routingKey = checkName('routingKey', options.routingKey ?? '');
    this.arguments = checkArguments('arguments', options.arguments);
    this.unbindArguments = checkArguments('unbindArguments', options.unbindArguments);
  }

  /** Whether the other is a binding with the same exchange, key and arguments. */
  equals(other: unknown): boolean {
    return (
      other instanceof Binding &&
      this.exchange.equals(other.exchange) &&
      this.routingKey === other.routingKey &&
      sameArguments(this.arguments, other.arguments) &&
      sameArguments(this.unbindArguments, other.unbindArguments)
    );
  }

  /** Declares the exchange, unless it is not to be declared. */
  async declare(target: ChannelOrConnection, wait: WaitOptions = {}): Promise<void> {
    await declareExchange(this.exchange, checkTarget(target).connection.topology, wait);
  }

  /** Binds `queue`, which must be bound to a channel or connection. */
  bind(queue: Queue, wait: WaitOptions = {}): Promise<void> {
    return queue.bindTo(this.exchange, { ...wait, routingKey: this.routingKey, arguments: this.arguments });
  }

  /** Undoes `bind`. */
  unbind(queue: Queue, wait: WaitOptions = {}): Promise<void> {
    const args = this.unbindArguments ?? this.arguments;
    return queue.unbindFrom(this.exchange, { ...wait, routingKey: this.routingKey, arguments: args });
  }
}
