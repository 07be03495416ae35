import { resolve } from 'node:path';
import { InvalidArgumentError, InvalidUrlError } from '../../errors.js';
import { checkOneOf, show } from '../../util/check.js';
import { secondsToMs } from '../../util/seconds.js';
import type { OpenDriver } from '../virtual/driver.js';

/** Names of our transport options; see docs/guides/filesystem.md. */
export const FILESYSTEM_OPTIONS = [
  'data_folder_in',
  'data_folder_out',
  'store_processed',
  'processed_folder',
  'control_folder',
  'lease',
  'read_timeout',
  'fsync',
  'body_encoding',
  'implicit_queues',
] as const;

export const DURATION_OPTIONS = ['lease', 'read_timeout'] as const;

export interface FilesystemOptions {
  /** Absolute, as all folders. */
  readonly dataIn: string;
  readonly dataOut: string;
  readonly control: string;
  /** Where messages go that were settled; undefined: nowhere. */
  readonly processed: string | undefined;
  /** Milliseconds. */
  readonly lease: number;
  /** Milliseconds that a lock is waited for. */
  readonly timeout: number;
  /** A publish is confirmed when the disk has it. */
  readonly fsync: boolean;
  readonly bodyEncoding: 'base64' | 'utf-8';
  /** Which queues that nobody is known to have are made by publishing to them: those that wait for an answer, all, or none. */
  readonly implicitQueues: 'replies' | 'always' | 'never';
}

/** What a driver has before it is opened. */
export const DEFAULT_LEASE = 30_000;

/**
 * Reads them. Values from a URL are text.
 *
 * @throws InvalidArgumentError INVALID_ARGUMENT, naming the value; INVALID_URL for a URL that names more than the scheme.
 */
export function filesystemOptions(parameters: OpenDriver['parameters']): FilesystemOptions {
  const { hostname = '', virtualHost = '/', transportOptions: given } = parameters;
  if (!['', 'localhost'].includes(hostname) || !['', '/'].includes(virtualHost)) {
    throw new InvalidUrlError(
      `filesystem://: the folders are transport options (data_folder_in, data_folder_out, control_folder), not ${show(hostname + virtualHost)}`,
    );
  }
  const encoding = given.body_encoding;
  return {
    dataIn: folder('data_folder_in', given.data_folder_in, 'data_in'),
    dataOut: folder('data_folder_out', given.data_folder_out, 'data_out'),
    control: folder('control_folder', given.control_folder, 'control'),
    processed: flag('store_processed', given.store_processed, false)
      ? folder('processed_folder', given.processed_folder, 'processed')
      : undefined,
    lease: duration('lease', given.lease, 0.1) ?? DEFAULT_LEASE,
    timeout: duration('read_timeout', given.read_timeout, 0.05) ?? 10_000,
    fsync: flag('fsync', given.fsync, true),
    bodyEncoding: encoding === undefined ? 'base64' : checkOneOf('body_encoding', encoding, ['base64', 'utf-8']),
    implicitQueues: checkOneOf('implicit_queues', given.implicit_queues ?? 'replies', ['replies', 'always', 'never']),
  };
}

function folder(name: string, value: unknown, byDefault: string): string {
  if (value === undefined) return resolve(byDefault);
  if (typeof value === 'string' && value !== '' && !value.includes('\0')) return resolve(value);
  throw new InvalidArgumentError(`${name} must be the path of a folder, not ${show(value)}`);
}

function flag(name: string, value: unknown, byDefault: boolean): boolean {
  if (value === undefined) return byDefault;
  if (typeof value === 'boolean') return value;
  if (typeof value === 'string' && /^(1|true|yes|on)$/i.test(value)) return true;
  if (typeof value === 'string' && /^(0|false|no|off)$/i.test(value)) return false;
  throw new InvalidArgumentError(`${name} must be true or false, not ${show(value)}`);
}

/** Seconds as milliseconds. */
function duration(name: string, value: unknown, atLeast: number): number | undefined {
  if (value === undefined) return undefined;
  const ms = secondsToMs(name, value);
  if (ms >= atLeast * 1000 && ms < 2 ** 31) return ms;
  throw new InvalidArgumentError(`${name} must be from ${atLeast} s up to 24 days, not ${show(value)}`);
}
