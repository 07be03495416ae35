/** Which publishes a broker means when it closes a channel. */
import type { MessagingError } from '../errors.js';

/**
 * Reply codes (0-9-1 section 1.2) with which a broker answers one bad publish by closing the channel: content too large, no
 * consumers, access refused, not found, locked, precondition failed, not implemented.
 */
const FAULTS: ReadonlySet<number> = new Set([311, 313, 403, 404, 405, 406, 540]);

/** Whether the channel was closed because of one of its messages, rather than of the broker's own affairs. */
export function isFaultOfMessage(error: MessagingError): boolean {
  return error.replyCode !== undefined && FAULTS.has(error.replyCode);
}

/**
 * The exchange that the reply names: `NOT_FOUND - no exchange 'x' in vhost '/'`, `ACCESS_REFUSED - write access to exchange
 * 'x' in vhost '/' refused for user 'u'`.
 */
export function exchangeBlamed(error: MessagingError): string | undefined {
  return error.replyText?.match(/exchange '(.*)' in vhost '/)?.[1];
}
