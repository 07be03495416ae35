/**
 * Transport options: Kombu's `transport_options`, under Kombu's names with Kombu's units (seconds), or in camelCase with
 * milliseconds.
 */
import { InvalidArgumentError } from '../errors.js';
import type { TransportModule } from '../transport/contract.js';
import { CONNECTION_QUERY_KEYS } from '../url/index.js';
import { checkBoolean, checkDuration, checkOneOf, show } from '../util/check.js';
import { CYCLE_NAMES, type CycleName } from '../util/cycles.js';
import { camelToSnake, snakeToCamel } from '../util/naming.js';
import { didYouMean } from '../util/nearest.js';
import { secondsToMs } from '../util/seconds.js';
import { warnOnce } from '../util/warnings.js';
import { checkRetry, type RetryOptions } from './retry-options.js';

/** See each transport's page for the keys that it knows. */
export type TransportOptions = Readonly<Record<string, unknown>>;

/** Keys that act alike on every transport, because the Connection itself obeys them. */
const COMMON: ReadonlySet<string> = new Set([
  'max_retries',
  'interval_start',
  'interval_step',
  'interval_max',
  'connect_retries_timeout',
  'errback',
  'callback',
  'confirm_publish',
]);
/** Keys that are read here, some of them for the transport as well. */
const READ: ReadonlySet<string> = new Set([...COMMON, 'read_timeout', 'queue_order_strategy']);
const COMMON_DURATIONS: ReadonlySet<string> = new Set([
  'interval_start',
  'interval_step',
  'interval_max',
  'connect_retries_timeout',
  'read_timeout',
]);

export interface CommonOptions {
  readonly retry: RetryOptions;
  readonly connectDeadline: number | undefined;
  readonly confirmPublish: boolean;
  /** In which order what several queues have delivered is handled. The transport is told, too. */
  readonly queueOrder: CycleName;
  /** How long an answer may take. The transport, which must know the key, is told, too. */
  readonly rpcTimeout: number | undefined;
}

/**
 * What the Connection itself takes from the caller's transport options and from a URL's query, which wins.
 *
 * @throws InvalidArgumentError INVALID_ARGUMENT for values of the wrong kind.
 */
export function commonOptions(given: TransportOptions, query: Readonly<Record<string, string>>): CommonOptions {
  const values: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(given)) {
    const name = camelToSnake(key);
    if (READ.has(name) && value !== undefined) values[name] = inSeconds(key, name, value, COMMON_DURATIONS);
  }
  for (const key of READ) if (query[key] !== undefined) values[key] = query[key];

  const ms = (name: string) => (values[name] === undefined ? undefined : secondsToMs(name, values[name]));
  const retry: RetryOptions = {
    maxRetries: values['max_retries'] === undefined ? undefined : Number(values['max_retries']),
    intervalStart: ms('interval_start'),
    intervalStep: ms('interval_step'),
    intervalMax: ms('interval_max'),
    errback: values['errback'] as RetryOptions['errback'],
    callback: values['callback'] as RetryOptions['callback'],
  };
  checkRetry(retry);
  return {
    retry,
    connectDeadline: ms('connect_retries_timeout'),
    confirmPublish: flag(values['confirm_publish']),
    queueOrder: checkOneOf('queue_order_strategy', values['queue_order_strategy'] ?? 'round_robin', CYCLE_NAMES),
    rpcTimeout: ms('read_timeout'),
  };
}

/**
 * The options for a transport, in Kombu's names and units, without those the Connection keeps to itself.
 *
 * @param query Options from a URL's query, as text. They win.
 * @throws InvalidArgumentError INVALID_ARGUMENT for a key that nobody knows, with the nearest one.
 */
export function normalizeTransportOptions(
  module: TransportModule,
  given: TransportOptions,
  query: Readonly<Record<string, string>>,
): Record<string, unknown> {
  const durations = module.durationOptions ?? new Set<string>();
  const result: Record<string, unknown> = {};
  for (const [key, value, isQuery] of [
    ...Object.entries(given).map((entry) => [...entry, false] as const),
    ...Object.entries(query).map((entry) => [...entry, true] as const),
  ]) {
    const name = camelToSnake(key);
    if (value === undefined || COMMON.has(name)) continue;
    if (module.transportOptions.has(name)) {
      result[name] = inSeconds(key, name, value, durations);
      continue;
    }
    const ignored = module.ignoredOptions?.[name];
    if (ignored === undefined) throw unknownOption(key, module, isQuery);
    warnOnce(`transport option ${name}: ${ignored}`, `transport option '${key}' has no effect: ${ignored}`);
  }
  return result;
}

/** A duration in camelCase is in milliseconds; everything else stays as it is. */
function inSeconds(key: string, name: string, value: unknown, durations: ReadonlySet<string>): unknown {
  return key !== name && durations.has(name) ? checkDuration(key, value, { allowInfinity: true }) / 1000 : value;
}

function flag(value: unknown): boolean {
  if (value === undefined) return true;
  if (typeof value !== 'string') return checkBoolean('confirm_publish', value);
  if (/^(1|true|yes|on)$/i.test(value)) return true;
  if (/^(0|false|no|off)$/i.test(value)) return false;
  throw new InvalidArgumentError(`confirm_publish must be true or false, not ${show(value)}`);
}

function unknownOption(key: string, module: TransportModule, isQuery: boolean): InvalidArgumentError {
  const names = [...module.transportOptions, ...COMMON];
  if (isQuery) {
    const hint = didYouMean(key, [...CONNECTION_QUERY_KEYS, ...names]);
    return new InvalidArgumentError(`'${key}' in the query of the URL is not known${hint}`);
  }
  const likeTheirs = key === camelToSnake(key) ? names : names.map(snakeToCamel);
  return new InvalidArgumentError(`transport option '${key}' is not known${didYouMean(key, likeTheirs)}`);
}
