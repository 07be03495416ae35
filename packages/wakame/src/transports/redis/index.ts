import { defineVirtualTransport } from '../virtual/index.js';
import { RedisDriver } from './driver.js';
import { DURATION_OPTIONS, IGNORED_OPTIONS, TRANSPORT_OPTIONS } from './options.js';

export { RedisDriver, type RedisDriverOptions } from './driver.js';
export type { RedisClient } from './library.js';

/**
 * `redis://[user:password@]host[:6379][/database]`, `rediss://` (TLS, verified), `redis+socket:///path?virtual_host=database` and
 * `sentinel://host[:26379][/database]` with the option `master_name`: Kombu's layout, shared with Python. Needs the package `ioredis`, or a
 * client of it handed in as the transport option `client`, which is not used itself: others are made like it.
 */
export const transportModule = defineVirtualTransport({
  name: 'redis',
  createDriver: () => new RedisDriver(),
  transportOptions: TRANSPORT_OPTIONS,
  durationOptions: DURATION_OPTIONS,
  ignoredOptions: IGNORED_OPTIONS,
});
