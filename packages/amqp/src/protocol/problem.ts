import { InvalidArgumentError } from '../errors.js';

/**
 * Why a value cannot be written. Thrown deep inside an encoder, which does not know the value's name; every level on
 * the way out adds its part of the path, so that the path costs nothing while all goes well. Never leaves the
 * protocol layer.
 */
export class EncodeProblem extends Error {
  readonly reason: string;
  readonly code: 'INVALID_ARGUMENT' | 'MESSAGE_TOO_LARGE';
  path = '';

  constructor(reason: string, code: 'INVALID_ARGUMENT' | 'MESSAGE_TOO_LARGE' = 'INVALID_ARGUMENT') {
    super(reason);
    this.reason = reason;
    this.code = code;
  }

  /** Puts the key or index, under which the value was found, before the path so far. */
  under(key: string | number): this {
    // A cycle yields a path as deep as the depth limit: its head is enough to find it.
    this.path = `${step(key)}${this.path}`.slice(0, 400);
    return this;
  }
}

function step(key: string | number): string {
  if (typeof key === 'number') return `[${key}]`;
  const short = key.length > 64 ? `${key.slice(0, 64)}…` : key;
  return /^[\w-]+$/.test(key) ? `.${short}` : `[${JSON.stringify(short)}]`;
}

/** The error for the caller: an {@link EncodeProblem} with its full name, anything else as it is. */
export function named(error: unknown, name: string): unknown {
  if (!(error instanceof EncodeProblem)) return error;
  return new InvalidArgumentError(`${name}${error.path} ${error.reason}`, { code: error.code });
}

/** A value as an error message shows it: its kind, and the value itself where that is short. */
export function describe(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
    case 'bigint':
      return `${value}n`;
    case 'function':
      return 'a function';
    case 'symbol':
      return 'a symbol';
    case 'object':
      if (value === null) return 'null';
      return `an object of type ${value.constructor?.name || 'unknown'}`;
    default:
      return String(value);
  }
}

/** An integer within 0 and `max`, or an {@link EncodeProblem}. */
export function checkInteger(value: unknown, max: number): number {
  if (Number.isInteger(value) && (value as number) >= 0 && (value as number) <= max) return value as number;
  throw new EncodeProblem(`must be an integer from 0 to ${max}, not ${describe(value)}`);
}

/** A string, or an {@link EncodeProblem}. */
export function checkString(value: unknown): string {
  if (typeof value === 'string') return value;
  throw new EncodeProblem(`must be a string, not ${describe(value)}`);
}
