/** What the suites over Redis have in common. */
import type { ConformanceOptions, Disruptor } from 'wakame/testing';
import type { FaultProxy } from '../support/fault-proxy.js';

export const REDIS_CASES = {
  unsupported: {
    heartbeats: 'Redis has none: an answer that does not come, and TCP keep-alive, tell of a dead peer',
  },
  // Short, for the cases of killed consumers to end soon. Seconds, as in a URL.
  connection: { transportOptions: { lease: 3 } },
  processes: { execArgv: ['--import', new URL('../support/source-loader.mjs', import.meta.url).href] },
} as const satisfies Partial<ConformanceOptions>;

/** Breaks the connections that go through the proxy. */
export function faultsOf(proxy: FaultProxy, url: string): Disruptor {
  return {
    url,
    drop: async () => {
      const dropped = proxy.reset();
      proxy.clear(); // What was withheld is gone with its connection.
      await dropped;
    },
    outage: async () => {
      proxy.refuse();
      await proxy.reset();
      return () => proxy.accept();
    },
    mute: async () => {
      proxy.set('toClient', { kind: 'stall' });
      return async () => proxy.clear();
    },
  };
}
