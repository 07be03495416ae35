import { InvalidArgumentError } from '../../errors.js';
import { checkOneOf, checkString, show } from '../../util/check.js';
import type { QueueOrder } from './dispatcher.js';
import type { DriverFeatures } from './driver.js';

/** Transport options that every virtual transport has, under Kombu's names. */
export const COMMON_OPTIONS = ['deadletter_queue', 'queue_order_strategy', 'polling_interval'] as const;

const ORDERS: readonly QueueOrder[] = ['round_robin', 'priority', 'sorted'];

export interface VirtualOptions {
  readonly order: QueueOrder;
  /** Milliseconds. */
  readonly pollInterval: number | undefined;
  readonly deadletterQueue: string | undefined;
}

/**
 * Reads them. Values from a URL are text.
 *
 * @throws InvalidArgumentError INVALID_ARGUMENT, naming the value.
 */
export function virtualOptions(given: Readonly<Record<string, unknown>>, features: DriverFeatures): VirtualOptions {
  const { deadletter_queue: deadletterQueue, queue_order_strategy: order, polling_interval: interval } = given;
  return {
    order: order === undefined ? 'round_robin' : checkOneOf('queue_order_strategy', order, ORDERS),
    // A driver that tells of every message knows by itself when it has to ask.
    pollInterval: interval === undefined ? features.pollInterval : checkedInterval(interval, features),
    deadletterQueue: deadletterQueue === undefined ? undefined : checkString('deadletter_queue', deadletterQueue),
  };
}

function checkedInterval(value: unknown, features: DriverFeatures): number | undefined {
  const seconds = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  if (typeof seconds === 'number' && seconds > 0 && seconds < 2 ** 31 / 1000) {
    return features.pollInterval === undefined ? undefined : seconds * 1000;
  }
  throw new InvalidArgumentError(`polling_interval must be a number of seconds above 0, not ${show(value)}`);
}
