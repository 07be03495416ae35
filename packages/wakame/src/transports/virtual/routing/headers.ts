import type { Arguments } from '../../../transport/contract.js';
import { canonical } from '../../../util/canonical.js';

/**
 * What the arguments of a binding to a headers exchange ask of a message's headers (0-9-1 section 3.1.3.4 and RabbitMQ's
 * extensions). `x-match` says how: `all` (default) or `any` of the arguments must be found, those beginning with `x-` not looked at; with
 * `all-with-x` and `any-with-x` they are. An argument without a value (null) asks for the header's presence alone.
 */
export function headersMatcher(args: Arguments): (headers: Readonly<Record<string, unknown>> | undefined) => boolean {
  const mode = args['x-match'] ?? 'all';
  const withX = mode === 'all-with-x' || mode === 'any-with-x';
  const wanted = Object.entries(args)
    .filter(([key, value]) => key !== 'x-match' && value !== undefined && (withX || !key.startsWith('x-')))
    .map(([key, value]) => ({ key, value: value === null ? undefined : canonical(value) }));
  const found = (headers: Readonly<Record<string, unknown>>, { key, value }: (typeof wanted)[number]) =>
    Object.hasOwn(headers, key) &&
    headers[key] !== undefined &&
    (value === undefined || canonical(headers[key]) === value);
  if (mode === 'any' || mode === 'any-with-x') return (headers = {}) => wanted.some((item) => found(headers, item));
  return (headers = {}) => wanted.every((item) => found(headers, item));
}

/** The values that `x-match` can have. */
export const MATCH_MODES: ReadonlySet<unknown> = new Set(['all', 'any', 'all-with-x', 'any-with-x']);
