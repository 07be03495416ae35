/**
 * Notifications on the wire, in the envelope (`messagingv2`) or bare (`messaging`):
 *
 * ```
 *   {"message_id", "publisher_id", "event_type", "priority": "INFO", "payload", "timestamp": "2026-11-21 15:30:00.123456",
 *    "_unique_id", "_context_<key>"…}
 * ```
 */
import { type Context, hexId, malformed, optional, packContext, unpackContext } from '../wire/envelope.js';

/** Priorities, each with a queue of its own. */
export const PRIORITIES = ['audit', 'debug', 'info', 'warn', 'error', 'critical', 'sample'] as const;
/** One of the priorities. */
export type Priority = (typeof PRIORITIES)[number];

/** What a notification says of itself. */
export interface NotificationMetadata {
  readonly messageId: string | undefined;
  /** UTC, as the publisher wrote it: `2026-11-21 15:30:00.123456`. */
  readonly timestamp: string | undefined;
}

/** Something that happened. */
export interface Notification {
  readonly context: Context;
  /** Who tells of it: `compute.host1`. */
  readonly publisherId: string | undefined;
  /** What happened: `compute.instance.create.end`. */
  readonly eventType: string | undefined;
  readonly payload: unknown;
  readonly metadata: NotificationMetadata;
}

export function writeNotification(priority: Priority, notification: Notification): object {
  const { context, publisherId, eventType, payload, metadata } = notification;
  return {
    message_id: metadata.messageId,
    publisher_id: publisherId,
    event_type: eventType,
    priority: priority.toUpperCase(),
    payload: payload ?? null,
    timestamp: metadata.timestamp,
    _unique_id: hexId(),
    ...packContext(context),
  };
}

/** Throws DECODE_FAILED for what is no notification. The priority is `undefined` when it is none that is known. */
export function readNotification(
  message: Record<string, unknown>,
): Notification & { readonly priority: Priority | undefined; readonly uniqueId: string | undefined } {
  const { priority } = message;
  if (typeof priority !== 'string') throw malformed("a notification's priority must be a string", priority);
  const lower = priority.toLowerCase();
  return {
    priority: PRIORITIES.find((known) => known === lower),
    uniqueId: optional(message, '_unique_id'),
    context: unpackContext(message),
    publisherId: optional(message, 'publisher_id'),
    eventType: optional(message, 'event_type'),
    payload: message['payload'] ?? null,
    metadata: { messageId: optional(message, 'message_id'), timestamp: optional(message, 'timestamp') },
  };
}

/** The time now, as Python's `str(datetime.utcnow())`. */
export function timestampNow(): string {
  return `${new Date().toISOString().slice(0, -1).replace('T', ' ')}000`;
}
