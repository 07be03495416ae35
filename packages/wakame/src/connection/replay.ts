/**
 * Declaring again, on a new incarnation, what a connection had declared.
 *
 * Requests are pipelined. A refusal closes the channel, and rejects all that wait on it (see `TransportChannel`): the one at fault is set
 * aside, and the others are sent again on a new channel.
 */
import { ConnectionError, type MessagingError, RecoverableConnectionError } from '../errors.js';
import type { ChannelEvents, TransportChannel, TransportConnection } from '../transport/contract.js';
import { withDeadline } from '../util/deadline.js';
import { noop } from '../util/noop.js';
import type { AnyRecord, QueueRecord, TopologyRecord } from './topology-record.js';
import { asMessagingError, isCollateral } from './waiters.js';

export interface Refused {
  readonly record: AnyRecord;
  readonly error: MessagingError;
}

interface ReplayHost {
  readonly rpcTimeout: number;
  problem(error: MessagingError): void;
}

/** The end of these channels is told by the requests on them. */
const UNHEARD: ChannelEvents = { onClose: noop, onReturned: noop };
/** Requests under way at one time. */
const BATCH = 256;

/** Declares all that is recorded, in the order of dependence. Resolves with what was refused; rejects when the connection fails. */
export async function replay(
  record: TopologyRecord,
  connection: TransportConnection,
  host: ReplayHost,
): Promise<readonly Refused[]> {
  const refused: Refused[] = [];
  const phases = [
    () => record.exchanges,
    () => record.bindings('exchange-binding'),
    () => record.queues,
    () => record.bindings('queue-binding'),
  ];
  for (const phase of phases) {
    const entities: readonly AnyRecord[] = phase();
    for (const { record: entity, error } of await replayPhase(record, entities, connection, host)) {
      refused.push({ record: entity, error });
      host.problem(error);
    }
  }
  return refused;
}

async function replayPhase(
  record: TopologyRecord,
  entities: readonly AnyRecord[],
  connection: TransportConnection,
  host: ReplayHost,
): Promise<Refused[]> {
  const refused: Refused[] = [];
  let left = [...entities];
  while (left.length > 0) {
    const channel = await openChannel(connection, host.rpcTimeout);
    try {
      while (left.length > 0 && channel.state === 'open') {
        const batch = left.slice(0, BATCH);
        const failures = await replayBatch(record, batch, channel, host.rpcTimeout);
        const blamed = failures.filter(({ error }) => !isCollateral(error));
        if (connection.state !== 'open') giveUp(record, blamed[0], host);
        refused.push(...blamed);
        const again = failures.filter(({ error }) => isCollateral(error));
        left = [...again.map((failure) => failure.record), ...left.slice(batch.length)];
      }
    } finally {
      void channel.close();
    }
  }
  return refused;
}

/** A channel that comes too late is closed again. */
async function openChannel(connection: TransportConnection, timeout: number): Promise<TransportChannel> {
  const opening = connection.openChannel('consume', UNHEARD);
  try {
    return await withDeadline(opening, 'opening a channel', { timeout });
  } catch (error) {
    opening.then((late) => late.close(), noop);
    throw error;
  }
}

/** Resolves with those that failed. */
async function replayBatch(
  record: TopologyRecord,
  batch: readonly AnyRecord[],
  channel: TransportChannel,
  rpcTimeout: number,
): Promise<Refused[]> {
  const failures: Refused[] = [];
  const all = batch.map((entity) =>
    replayOne(record, entity, channel).catch((error: unknown) => {
      failures.push({ record: entity, error: asMessagingError(error) });
    }),
  );
  await withDeadline(Promise.all(all), 'declaring again', { timeout: rpcTimeout });
  return failures;
}

/**
 * The incarnation failed. Where it was the broker's answer to one declaration, that one is not tried again: it would end each
 * incarnation to come.
 */
function giveUp(record: TopologyRecord, blamed: Refused | undefined, host: ReplayHost): never {
  const error = blamed?.error;
  if (blamed !== undefined && error instanceof ConnectionError && !error.recoverable && error.replyCode !== undefined) {
    record.remove(blamed.record);
    host.problem(error);
  }
  throw new RecoverableConnectionError('the connection was lost while declaring again', { cause: error });
}

/** Declares one entity again. */
export async function replayOne(record: TopologyRecord, entity: AnyRecord, channel: TransportChannel): Promise<void> {
  switch (entity.kind) {
    case 'exchange':
      await channel.exchangeDeclare(entity.name, entity.type, entity.options);
      break;
    case 'queue':
      await replayQueue(record, entity, channel);
      break;
    case 'exchange-binding':
      await channel.exchangeBind(entity);
      break;
    case 'queue-binding': {
      const { source: exchange, routingKey } = entity;
      const queue = record.queue(entity.destination)?.current ?? entity.destination;
      await channel.queueBind({ queue, exchange, routingKey, arguments: entity.arguments });
      break;
    }
  }
  entity.known = true;
}

async function replayQueue(record: TopologyRecord, queue: QueueRecord, channel: TransportChannel): Promise<void> {
  if (!queue.serverNamed) {
    queue.answer = await channel.queueDeclare(queue.current, queue.options);
    return;
  }
  // One that outlives connections is still there under its name, which only the broker may give.
  if (queue.options.exclusive !== true && (await exists(queue.current, channel.connection))) return;
  record.rename(queue, await channel.queueDeclare('', queue.options));
}

async function exists(queue: string, connection: TransportConnection): Promise<boolean> {
  const channel = await connection.openChannel('consume', UNHEARD);
  try {
    await channel.queueDeclare(queue, { passive: true });
    return true;
  } catch (error) {
    if (asMessagingError(error).code === 'NOT_FOUND') return false;
    throw error;
  } finally {
    void channel.close();
  }
}
