import type { ConsumerCancelled } from './errors.js';
import type { FieldTable } from './protocol/tables.js';
import type { CallOptions } from './rpc.js';

/** For methods whose answer the broker can be asked to leave out. */
export interface NowaitOptions extends CallOptions {
  /** Do not ask for an answer: the call resolves when it is buffered, and an error of the broker's closes the channel. */
  nowait?: boolean | undefined;
}

/** For methods with a field table. */
export interface ArgumentsOptions extends NowaitOptions {
  /** Extension arguments, such as `x-message-ttl`. */
  arguments?: FieldTable | undefined;
}

export interface ExchangeDeclareOptions extends ArgumentsOptions {
  /** Only check that it exists; everything else is ignored. Rejects with NotFound when it does not. */
  passive?: boolean | undefined;
  /** It survives a restart of the broker. */
  durable?: boolean | undefined;
  /** It is deleted when its last binding is. */
  autoDelete?: boolean | undefined;
  /** Only other exchanges can publish to it. */
  internal?: boolean | undefined;
}

export interface ExchangeDeleteOptions extends NowaitOptions {
  /** Refuse (PreconditionFailed) while it has bindings. */
  ifUnused?: boolean | undefined;
}

export interface ExchangeBinding extends ArgumentsOptions {
  /** The exchange that messages go to. */
  destination: string;
  /** The exchange that they come from. */
  source: string;
  /** Default empty. */
  routingKey?: string | undefined;
}

export interface QueueDeclareOptions extends ArgumentsOptions {
  /** Only check that it exists; everything else is ignored. Rejects with NotFound when it does not. */
  passive?: boolean | undefined;
  /** It survives a restart of the broker. */
  durable?: boolean | undefined;
  /** Only this connection uses it, and it goes with the connection. */
  exclusive?: boolean | undefined;
  /** It is deleted when its last consumer is cancelled. */
  autoDelete?: boolean | undefined;
}

export interface QueueDeleteOptions extends NowaitOptions {
  /** Refuse (PreconditionFailed) while it has consumers. */
  ifUnused?: boolean | undefined;
  /** Refuse (PreconditionFailed) while it has messages. */
  ifEmpty?: boolean | undefined;
}

export interface QueueBinding extends ArgumentsOptions {
  /** Empty: the queue last declared on this channel. */
  queue: string;
  exchange: string;
  /** Default empty. */
  routingKey?: string | undefined;
}

export interface QueueUnbinding extends CallOptions {
  queue: string;
  exchange: string;
  /** Default empty. */
  routingKey?: string | undefined;
  arguments?: FieldTable | undefined;
}

export interface QosOptions extends CallOptions {
  /** Deliveries that may be unsettled, up to 65535; 0: no limit. */
  prefetchCount: number;
  /** Bytes that may be unsettled; 0: no limit. RabbitMQ knows no other value. Default 0. */
  prefetchSize?: number | undefined;
  /** On RabbitMQ `false` means each consumer started from now on, `true` the whole channel. Default `false`. */
  global?: boolean | undefined;
}

export interface ConsumeOptions extends ArgumentsOptions {
  /** Default: one made up by the client. */
  consumerTag?: string | undefined;
  /** Do not deliver what this connection published. RabbitMQ ignores it. */
  noLocal?: boolean | undefined;
  /** Deliveries count as settled when they are sent: faster, and what is under way is lost with the connection. */
  noAck?: boolean | undefined;
  /** Refuse (AccessRefused) when the queue has consumers, and let no other one in. */
  exclusive?: boolean | undefined;
  /** Called when the broker ends the consumer, for instance because the queue was deleted. */
  onCancel?: ((error: ConsumerCancelled) => unknown) | undefined;
}

/** Options of `consume`. */
export interface IterationOptions {
  /**
   * Deliveries that the broker may send ahead (basic.qos, which stays in force for later consumers of the channel); 0: no limit.
   * Default 100. Without effect with `noAck`, when the messages that wait here are not bounded.
   */
  prefetch?: number | undefined;
  /** Ends the loop after so many milliseconds without a message. Default: never. */
  idleTimeout?: number | undefined;
  /** As {@link ConsumeOptions.noAck}. What was delivered and not yet yielded when the loop is left is then lost. */
  noAck?: boolean | undefined;
  /** As {@link ConsumeOptions.exclusive}. */
  exclusive?: boolean | undefined;
  /** Default: chosen by the client. */
  consumerTag?: string | undefined;
  /** Further arguments, such as `x-priority`. */
  arguments?: FieldTable | undefined;
  /** Ends the loop: it throws `signal.reason`. */
  signal?: AbortSignal | undefined;
}

/** What the broker is to insist on. */
export interface PublishOptions {
  /** The broker must find a queue, or it returns the message. */
  mandatory?: boolean | undefined;
  /** A consumer must be waiting. RabbitMQ does not know it: refused with NOT_SUPPORTED there. */
  immediate?: boolean | undefined;
}

export interface AccessOptions extends CallOptions {
  /** Nobody else may have access. */
  exclusive?: boolean | undefined;
  /** Passive access is asked for. */
  passive?: boolean | undefined;
  /** Access that is asked for, as the next two. RabbitMQ grants all of it, always. */
  active?: boolean | undefined;
  /** To publish. */
  write?: boolean | undefined;
  /** To consume, get and bind. */
  read?: boolean | undefined;
}

/** How an orderly close goes on. */
export interface CloseOptions {
  /** Deadline in milliseconds; 0: do not wait. Default: the connection's `closeTimeout`. */
  timeout?: number | undefined;
}
