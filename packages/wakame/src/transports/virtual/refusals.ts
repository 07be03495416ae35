/** What AMQP brokers refuse, with RabbitMQ's reply codes and words, so that a program meets the same errors on every transport. */
import {
  ConnectionClosedError,
  errorForReply,
  type MessagingError,
  type PublishOutcome,
  RecoverableConnectionError,
} from '../../errors.js';
import { show } from '../../util/check.js';

export type EntityKind = 'exchange' | 'queue';

export function notFound(kind: EntityKind, name: string, vhost: string): MessagingError {
  return errorForReply('channel', 404, `NOT_FOUND - no ${kind} '${name}' in vhost '${vhost}'`);
}

export function accessRefused(reason: string): MessagingError {
  return errorForReply('channel', 403, `ACCESS_REFUSED - ${reason}`);
}

export function reservedName(kind: EntityKind, name: string): MessagingError {
  return accessRefused(`${kind} name '${name}' contains reserved prefix 'amq.*'`);
}

export function locked(queue: string, vhost: string): MessagingError {
  return errorForReply(
    'channel',
    405,
    `RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '${queue}' in vhost '${vhost}'`,
  );
}

export function precondition(reason: string): MessagingError {
  return errorForReply('channel', 406, `PRECONDITION_FAILED - ${reason}`);
}

/** An entity stands already, with another value of a setting. */
export function inequivalent(
  setting: string,
  kind: EntityKind,
  name: string,
  vhost: string,
  received: unknown,
  current: unknown,
): MessagingError {
  const text = (value: unknown) => (value === undefined ? 'none' : show(value));
  const where = `for ${kind} '${name}' in vhost '${vhost}'`;
  return precondition(
    `inequivalent arg '${setting}' ${where}: received ${text(received)} but current is ${text(current)}`,
  );
}

/**
 * For an operation on an incarnation that has ended.
 *
 * @param loss Why it ended; undefined: it was closed on request.
 */
export function connectionGone(loss: MessagingError | undefined, outcome?: PublishOutcome): MessagingError {
  if (loss === undefined) return new ConnectionClosedError('the connection is closed', { outcome });
  const { code, recoverable, message } = loss;
  return new RecoverableConnectionError(message, { code, recoverable, outcome, cause: loss });
}
