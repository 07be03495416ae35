import type { Channel } from '../connection/channel.js';
import type { WaitOptions } from '../connection/managed-channel.js';
import type { Queue } from '../entities/queue.js';
import { InvalidArgumentError, type MessagingError } from '../errors.js';
import { serialization } from '../serialization/index.js';
import { checkFunction } from '../util/check.js';
import { newConsumerTag } from './consumer-tag.js';
import type { Decoding } from './decode.js';
import { type FailurePolicy, Handling, type SettleMode } from './handling.js';
import { Message, type MessageOwner } from './message.js';
import { decodeWarning, handlerWarning } from './reports.js';
import { StreamPosition } from './stream-position.js';

/** How {@link Queue.consume} goes about it. */
export interface SubscribeOptions<T> extends FailurePolicy<T>, WaitOptions {
  /** Called with each message, as soon as it is there: order and number are the channel's affair (its `qos`). */
  readonly callback: (message: Message<T>) => unknown;
  /** Default: one that is unique to the process. */
  readonly consumerTag?: string | undefined;
  /** The broker forgets each message when it sends it. Default: as the queue says. */
  readonly noAck?: boolean | undefined;
  /** The broker has ended the consumer, and it could not be started again. */
  readonly onCancel?: ((error: MessagingError) => void) | undefined;
  /** Serializers or MIME types whose bodies are read. Default: JSON, `text/plain` and `application/data`. */
  readonly accept?: Iterable<string> | undefined;
  /** Default `manual`. */
  readonly settle?: SettleMode | undefined;
}

/** Starts a consumer of one queue on `channel`; see {@link Queue.consume}. */
export function subscribe<T>(queue: Queue<T>, channel: Channel, options: SubscribeOptions<T>): Promise<string> {
  const {
    callback,
    consumerTag = newConsumerTag(),
    noAck = queue.noAck,
    onCancel,
    accept,
    settle = 'manual',
  } = options;
  checkFunction('callback', callback);
  if (onCancel !== undefined) checkFunction('onCancel', onCancel);
  if (consumerTag === '') throw new InvalidArgumentError('consumerTag must not be empty');
  const { connection } = channel;
  const decoding: Decoding<T> = { accept: serialization.prepareAccept(accept), schema: queue.schema };
  const handling = new Handling<T>(settle, options, { decodeError: decodeWarning, handlerError: handlerWarning });
  const position = StreamPosition.of(queue);
  const owner: MessageOwner = {
    queue: queue.name,
    noAck,
    connection,
    settled: (message, live) => {
      if (live) position?.settled(message.headers);
    },
    problem: (error) => connection.problem(error),
  };
  const handled = () => connection.eventHandled();
  return channel.consumers.subscribe(
    queue.name,
    { consumerTag, noAck, arguments: position?.arguments ?? queue.consumerArguments },
    {
      onInterrupted: () => position?.reset(),
      onDelivery(delivery, inner) {
        position?.delivered(delivery.properties.headers);
        // In a turn of its own: what the callback does reaches neither the transport's reader nor the deliveries behind it.
        queueMicrotask(() => {
          const work = handling.run(new Message<T>(delivery, inner, owner), decoding, callback);
          if (work === undefined) handled();
          else void work.then(handled);
        });
      },
      onCancel(error) {
        handled();
        if (onCancel === undefined) connection.problem(error);
        else queueMicrotask(() => onCancel(error));
      },
    },
    options,
  );
}
