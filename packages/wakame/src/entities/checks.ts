import { InvalidArgumentError } from '../errors.js';
import type { Arguments } from '../transport/message.js';
import { canonical } from '../util/canonical.js';
import { checkOneOf, checkString, show } from '../util/check.js';

/** The longest short string of AMQP (0-9-1 section 4.2.5.3), in bytes: names, routing keys and string properties. */
const LONGEST_NAME = 255;

/** Returns `value` when it is a string of at most 255 bytes in UTF-8. Throws INVALID_ARGUMENT. */
export function checkName(name: string, value: unknown): string {
  const text = checkString(name, value);
  // No character takes more than three bytes for each of its UTF-16 units, so most names need no counting.
  if (text.length * 3 <= LONGEST_NAME) return text;
  const bytes = Buffer.byteLength(text);
  if (bytes <= LONGEST_NAME) return text;
  throw new InvalidArgumentError(`${name} must be at most ${LONGEST_NAME} bytes long, not ${bytes}: ${show(text)}`);
}

/** Returns a frozen copy of an arguments table, `undefined` for none. Throws INVALID_ARGUMENT. */
export function checkArguments(name: string, value: Arguments | undefined): Arguments | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new InvalidArgumentError(`${name} must be an object, not ${show(value)}`);
  }
  return Object.freeze({ ...value });
}

/** How a message is kept: `transient` (1) may be lost when the broker restarts, `persistent` (2) may not. */
export type DeliveryMode = 'transient' | 'persistent' | 1 | 2;

/** The number for a delivery mode (0-9-1, basic.delivery-mode). Throws INVALID_ARGUMENT. */
export function checkDeliveryMode(name: string, value: DeliveryMode): 1 | 2 {
  if (value === 1 || value === 2) return value;
  return checkOneOf(name, value, ['transient', 'persistent']) === 'transient' ? 1 : 2;
}

/** Whether two tables hold the same; the order of their keys does not count. */
export function sameArguments(a: Arguments | undefined, b: Arguments | undefined): boolean {
  return canonical(a ?? {}) === canonical(b ?? {});
}
