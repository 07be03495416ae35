import { inspect } from 'node:util';
import { InvalidArgumentError } from '../errors.js';
import { didYouMean } from './nearest.js';

/** A value as it appears in an error message: short, on one line, without running code of the value's. */
export function show(value: unknown): string {
  if (typeof value === 'string' && value.length > 100) return `${inspect(value.slice(0, 100))}…`;
  const text = inspect(value, {
    depth: 1,
    breakLength: Number.POSITIVE_INFINITY,
    maxArrayLength: 5,
    customInspect: false,
  });
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

function refuse(name: string, wanted: string, value: unknown): never {
  throw new InvalidArgumentError(`${name} must be ${wanted}, not ${show(value)}`);
}

/** Limits of a numeric argument. */
export interface NumberLimits {
  /** Smallest value allowed. Default 0. */
  readonly min?: number | undefined;
  /** Largest value allowed. Default: the largest safe integer. */
  readonly max?: number | undefined;
}

/** Returns `value` when it is an integer within the limits (0 and more unless told otherwise). Throws INVALID_ARGUMENT. */
export function checkInteger(name: string, value: unknown, limits: NumberLimits = {}): number {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = limits;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max) return value;
  const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
  return refuse(name, `an integer ${range}`, value);
}

/** What {@link checkDuration} allows. */
export interface DurationLimits extends NumberLimits {
  /** Whether `Infinity`, meaning no end, is a duration. Default `false`. */
  readonly allowInfinity?: boolean | undefined;
}

/**
 * Returns `value` when it is a duration in milliseconds: a number of 0 or more, not NaN, and finite unless allowed
 * otherwise. Throws INVALID_ARGUMENT.
 */
export function checkDuration(name: string, value: unknown, limits: DurationLimits = {}): number {
  const { min = 0, max = Number.POSITIVE_INFINITY, allowInfinity = false } = limits;
  const isNumber = typeof value === 'number' && value >= min && value <= max;
  if (isNumber && (allowInfinity || Number.isFinite(value))) return value;
  const range = Number.isFinite(max) ? `from ${min} to ${max}` : `of at least ${min}`;
  return refuse(name, `a duration in milliseconds ${range}`, value);
}

/** Returns `value` when it is a string. Throws INVALID_ARGUMENT. */
export function checkString(name: string, value: unknown): string {
  return typeof value === 'string' ? value : refuse(name, 'a string', value);
}

/** Returns `value` when it is `true` or `false`. Throws INVALID_ARGUMENT. */
export function checkBoolean(name: string, value: unknown): boolean {
  return typeof value === 'boolean' ? value : refuse(name, 'true or false', value);
}

/** Returns `value` when it is a function. Throws INVALID_ARGUMENT. */
export function checkFunction<F extends (...args: never[]) => unknown>(name: string, value: F): F {
  return typeof value === 'function' ? value : refuse(name, 'a function', value);
}

/** Returns `value` when it is one of `allowed`; the error names the nearest of them. Throws INVALID_ARGUMENT. */
export function checkOneOf<const T extends string>(name: string, value: unknown, allowed: readonly T[]): T {
  const found = allowed.find((item) => item === value);
  if (found !== undefined) return found;
  const hint = typeof value === 'string' ? didYouMean(value, allowed) : '';
  const wanted = `one of ${allowed.map((item) => `'${item}'`).join(', ')}`;
  throw new InvalidArgumentError(`${name} must be ${wanted}, not ${show(value)}${hint}`);
}

/**
 * Refuses an options object with a key that nobody knows, naming the nearest known one, so that a misspelt option does
 * not pass for its default. A member that is `undefined` counts as absent. Throws INVALID_ARGUMENT.
 */
export function checkKeys(name: string, options: object, known: ReadonlySet<string>): void {
  for (const [key, value] of Object.entries(options)) {
    if (value !== undefined && !known.has(key)) {
      throw new InvalidArgumentError(`${name} has no option '${key}'${didYouMean(key, known)}`);
    }
  }
}
