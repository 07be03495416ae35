/**
 * Copies of messages, for whoever keeps one that the application can reach: a publisher may use its buffer again, a consumer change what it
 * got, and neither may change what is stored or what the next consumer sees. As if they had travelled over a wire.
 */
import type { BasicProperties } from '../../../transport/message.js';
import type { StoredMessage } from '../driver.js';

/** A message that shares nothing mutable with `message`. */
export function copyMessage(message: StoredMessage): StoredMessage {
  const { exchange, routingKey, extra } = message;
  return {
    body: copyBody(message.body),
    properties: copyProperties(message.properties),
    exchange,
    routingKey,
    extra: extra === undefined ? undefined : (copyValue(extra) as StoredMessage['extra']),
  };
}

/** Small ones come from Node's pool, which costs a third of an allocation of their own. */
function copyBody(body: Uint8Array): Uint8Array {
  return Buffer.from(body);
}

function copyProperties(properties: BasicProperties): BasicProperties {
  const copy: { -readonly [K in keyof BasicProperties]: BasicProperties[K] } = { ...properties };
  if (copy.headers !== undefined) copy.headers = copyTable(copy.headers);
  if (copy.timestamp instanceof Date) copy.timestamp = new Date(copy.timestamp);
  return copy;
}

/** Tables, arrays, bytes and dates are copied; values of other classes (decimals, UUIDs, typed numbers) are immutable and stay. */
function copyValue(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(copyValue);
  if (value instanceof Uint8Array) return Buffer.from(value);
  if (value instanceof Date) return isPlainDate(value) ? new Date(value) : value;
  return isTable(value) ? copyTable(value) : value;
}

/** A table that shares nothing mutable with `table`. */
export function copyTable(table: object): Record<string, unknown> {
  // Spreading defines members, also one named `__proto__`, rather than setting them.
  const copy: Record<string, unknown> = { ...table };
  for (const key in copy) {
    const value = copy[key];
    if (typeof value === 'object' && value !== null) copy[key] = copyValue(value);
  }
  return copy;
}

function isPlainDate(value: Date): boolean {
  return Object.getPrototypeOf(value) === Date.prototype;
}

function isTable(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
