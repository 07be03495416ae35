/** Stores that can be lost at will. */
import { onTestFinished } from 'vitest';
import { startFaultProxy } from '../../../../../scripts/lib/network/fault-proxy.ts';
import type { ConnectionParameters } from '../../../src/transport/contract.js';

export interface FragileStore {
  readonly parameters: ConnectionParameters;
  /** What is asked of it next finds it lost. */
  lose(): unknown;
  /** Each sees to it that the next opening loses it, each at another place. */
  readonly breaks: readonly (() => unknown)[];
  /** All is well again. */
  restore(): unknown;
}

/**
 * A server behind a proxy.
 *
 * @param places How many bytes of the server's an opening sees before its connection is reset. One that is through with fewer is not broken off.
 */
export async function behindProxy(parameters: ConnectionParameters, places: readonly number[]): Promise<FragileStore> {
  const { hostname = '', port = 0 } = parameters;
  const proxy = await startFaultProxy({ host: hostname, port });
  onTestFinished(() => proxy.close());
  const cutAfter = (bytes: number) => proxy.trigger('toClient', { kind: 'reset', after: bytes });
  return {
    parameters: { ...parameters, hostname: proxy.host, port: proxy.port },
    lose: () => cutAfter(0),
    breaks: places.map((bytes) => () => cutAfter(bytes)),
    restore: () => proxy.clear(),
  };
}
