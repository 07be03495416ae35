import { InvalidArgumentError } from '../errors.js';
import { show } from './check.js';

/**
 * Kombu's seconds, a number or its text, as milliseconds.
 *
 * @throws InvalidArgumentError INVALID_ARGUMENT for what is no duration.
 */
export function secondsToMs(name: string, seconds: unknown): number {
  const isNumeric =
    typeof seconds === 'number' || (typeof seconds === 'string' && /^\s*[\d.]+(?:e[+-]?\d+)?\s*$/i.test(seconds));
  const value = isNumeric ? Number(seconds) : Number.NaN;
  if (!Number.isFinite(value) || value < 0) {
    throw new InvalidArgumentError(`${name} must be a number of seconds, 0 or more, not ${show(seconds)}`);
  }
  // 1.001 * 1000 is 1000.9999999999999.
  return Math.round(value * 1e6) / 1e3;
}
