/** What AMQP brokers refuse, with RabbitMQ's reply codes and words, so that a program meets the same errors on every transport. */
import { ConnectionClosedError, errorForReply, MessagingError, type PublishOutcome } from '../../errors.js';
import { show } from '../../util/check.js';
import type { Driver } from './driver.js';

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
  const text = (value: unknown) =>
    value === undefined ? 'none' : `'${typeof value === 'string' ? value : show(value)}'`;
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
  return loss === undefined
    ? new ConnectionClosedError('the connection is closed', { outcome })
    : withOutcome(loss, outcome);
}

/** What a store's error means; those that are typed already are what they are. */
export function typed(driver: Driver, error: unknown): MessagingError {
  return error instanceof MessagingError ? error : driver.classify(error);
}

/** The same error for a publish. A copy, for one error may be the end of several messages that fared differently. */
export function withOutcome(error: MessagingError, outcome: PublishOutcome | undefined): MessagingError {
  // Not by its constructor, whose parameters only its class knows.
  const copy = Object.setPrototypeOf(new Error(error.message, { cause: error }), Object.getPrototypeOf(error));
  return Object.assign(copy, error, { outcome, stack: error.stack });
}
