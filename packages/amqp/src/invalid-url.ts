import { InvalidArgumentError } from './errors.js';

/** The error for a bad URL. The URL itself is never quoted: it may hold a password. */
export function invalidUrl(problem: string, cause?: unknown): InvalidArgumentError {
  return new InvalidArgumentError(`invalid AMQP URL: ${problem}`, {
    code: 'INVALID_URL',
    ...(cause === undefined ? {} : { cause }),
  });
}
