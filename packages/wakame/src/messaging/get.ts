import type { Channel } from '../connection/channel.js';
import type { WaitOptions } from '../connection/managed-channel.js';
import type { Queue } from '../entities/queue.js';
import type { MessagingError } from '../errors.js';
import { serialization } from '../serialization/index.js';
import { decodeMessage } from './decode.js';
import { Message, type MessageOwner } from './message.js';

/** How one message is fetched. */
export interface GetOptions extends WaitOptions {
  /** The broker forgets the message when it sends it. Default: as the queue says. */
  readonly noAck?: boolean | undefined;
  /** Serializers or MIME types whose bodies are read. Default: JSON, `text/plain` and `application/data`. */
  readonly accept?: Iterable<string> | undefined;
  /** May settle a message that cannot be read; the call rejects in any case. Without it the message is rejected without requeue. */
  readonly onDecodeError?: ((message: Message, error: MessagingError) => unknown) | undefined;
}

/** Fetches a message from `queue` over `channel`; see {@link Queue.get}. */
export async function fetchMessage<T>(
  queue: Queue<T>,
  channel: Channel,
  options: GetOptions,
): Promise<Message<T> | undefined> {
  const { accept, onDecodeError, noAck = queue.noAck, ...wait } = options;
  const decoding = { accept: serialization.prepareAccept(accept), schema: queue.schema };
  const fetched = await channel.consumers.get(queue.name, { noAck }, wait);
  if (fetched === undefined) return undefined;
  const { connection } = channel;
  const owner: MessageOwner = {
    queue: queue.name,
    noAck,
    connection,
    settled: () => undefined,
    problem: (error) => connection.problem(error),
  };
  const message = new Message<T>(fetched.delivery, fetched.inner, owner);
  const failure = await decodeMessage(message, decoding);
  connection.eventHandled();
  if (failure === undefined) return message;
  await onDecodeError?.(message, failure);
  if (message.state === 'RECEIVED') await message.reject();
  throw failure;
}
