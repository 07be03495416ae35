import type { Channel } from '../connection/channel.js';
import type { Connection } from '../connection/connection.js';
import { InvalidArgumentError, NotBoundError } from '../errors.js';
import { show } from '../util/check.js';

/** What entities, producers and consumers are bound to. A channel stands for its connection, except where a message is fetched. */
export type ChannelOrConnection = Channel | Connection;

/** Returns `target` when it is a channel or a connection. Throws INVALID_ARGUMENT. */
export function checkTarget(target: ChannelOrConnection): ChannelOrConnection {
  const connection: unknown = typeof target === 'object' && target !== null ? target.connection : undefined;
  if (typeof connection === 'object' && connection !== null && 'topology' in connection) return target;
  throw new InvalidArgumentError(`a Channel or a Connection is needed, not ${show(target)}`);
}

/** The channel itself, or the connection's default channel. */
export function channelOf(target: ChannelOrConnection): Channel {
  return 'defaultChannel' in target ? target.defaultChannel() : target;
}

/** What an entity is bound to. Throws NOT_BOUND, saying how to bind it. */
export function boundTarget(
  entity: { readonly channel: ChannelOrConnection | undefined },
  what: string,
): ChannelOrConnection {
  if (entity.channel !== undefined) return entity.channel;
  throw new NotBoundError(`${what} is not bound: use ${what.split(' ', 1)[0]}.bind(channelOrConnection) first`);
}
