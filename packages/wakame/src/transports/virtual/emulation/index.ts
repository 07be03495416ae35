import type { Driver } from '../driver.js';
import { BroadcastQueues } from './broadcast.js';
import { EmulatedDelay } from './delay.js';
import { EmulatedMaxLength } from './max-length.js';
import { EmulatedMessageTtl } from './message-ttl.js';
import { EmulatedQueueTtl } from './queue-ttl.js';

/**
 * The driver with everything that its store cannot do put in front of it, so that the rest of the virtual transport meets one kind of driver only. A
 * driver that lacks nothing is returned as it is.
 */
export function completed(driver: Driver): Driver {
  let complete = driver;
  if (!driver.features.maxLength) complete = new EmulatedMaxLength(complete);
  if (!driver.features.messageTtl) complete = new EmulatedMessageTtl(complete);
  if (!driver.features.delay) complete = new EmulatedDelay(complete);
  if (!driver.features.queueTtl) complete = new EmulatedQueueTtl(complete);
  if (driver.broadcast !== undefined) complete = new BroadcastQueues(complete, driver.broadcast);
  return complete;
}
