import type { LookupAddress } from 'node:dns';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { HostCycle } from '../../src/connection/hosts.js';
import { Connection, type FailoverInfo } from '../../src/connection/index.js';
import { Places } from '../../src/connection/places.js';
import { RecoverableConnectionError } from '../../src/errors.js';
import { FakeBroker } from '../support/fake-transport.js';

const names = vi.hoisted(() => new Map<string, LookupAddress[]>());

vi.mock('node:dns/promises', async (original) => ({
  ...(await original<typeof import('node:dns/promises')>()),
  lookup: async (hostname: string) => {
    const found = names.get(hostname);
    if (found === undefined) throw Object.assign(new Error(`getaddrinfo ENOTFOUND ${hostname}`), { code: 'ENOTFOUND' });
    return found;
  },
}));

const v4 = (n: number): LookupAddress => ({ address: `10.0.0.${n}`, family: 4 });
const v6 = (n: number): LookupAddress => ({ address: `fd00::${n}`, family: 6 });
const wait = { timeout: 1000, signal: new AbortController().signal };

/** Places over hosts a, b, …, whose names lead to these addresses. */
function places(...found: (readonly LookupAddress[])[]): Places<{ url: string }> {
  const hosts = found.map((_, i) => ({ url: String.fromCharCode(97 + i) }));
  const cycle = new HostCycle(hosts as [{ url: string }, ...{ url: string }[]], 'round-robin', (url) => ({ url }));
  return new Places(cycle, async (hostname) => found[hostname.charCodeAt(0) - 97] ?? []);
}

describe('the places of a cycle of hosts', () => {
  test('a name with several addresses is several; one address of each family is one', async () => {
    const all = places([v6(1), v4(1), v4(2)], [v4(9)]);
    const seen: unknown[] = [];
    for (let i = 0; i < 4; i++) {
      const { addresses, suffix } = await all.resolve(all.host.url, wait);
      seen.push([all.host.url, addresses?.map(({ address }) => address), suffix]);
      all.advance();
    }
    expect(seen).toEqual([
      ['a', ['fd00::1', '10.0.0.1'], ' (fd00::1, 10.0.0.1)'],
      ['a', ['10.0.0.2'], ' (10.0.0.2)'],
      ['b', ['10.0.0.9'], ''],
      ['a', ['fd00::1', '10.0.0.1'], ' (fd00::1, 10.0.0.1)'],
    ]);
    expect(all.size).toBe(3);
  });

  test('an address is a place of its own, and so is a host without a name', async () => {
    const all = places([]);
    for (const hostname of ['10.1.2.3', 'fd00::5', undefined]) {
      expect(await all.resolve(hostname, wait)).toEqual({ addresses: undefined, suffix: '' });
    }
  });

  test('names are looked up anew when it is their turn again', async () => {
    const addresses = [v4(1)];
    const all = places(addresses);
    expect((await all.resolve('a', wait)).addresses).toEqual([v4(1)]);
    addresses.splice(0, 1, v4(7), v4(8));
    all.advance();
    expect((await all.resolve('a', wait)).addresses).toEqual([v4(7)]);
    expect(all.size).toBe(2);
  });

  test('a name without an address, or whose answer takes too long, is CONNECT_FAILED', async () => {
    const failed = { code: 'CONNECT_FAILED', phase: 'dns', recoverable: true };
    await expect(places([]).resolve('a', wait)).rejects.toMatchObject(failed);
    const cycle = new HostCycle([{ url: 'a' }], 'round-robin', (url) => ({ url }));
    const silent = new Places(cycle, () => new Promise(() => {}));
    await expect(silent.resolve('a', { ...wait, timeout: 20 })).rejects.toMatchObject(failed);
    const reason = new Error('enough');
    await expect(silent.resolve('a', { timeout: 1000, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});

describe('a connection', () => {
  let broker: FakeBroker;
  let connection: Connection;

  const tried = () => broker.tries.map(({ addresses }) => addresses?.map(({ address }) => address).join('+'));

  beforeEach(() => {
    broker = new FakeBroker();
    names.clear();
    names.set('cluster', [v4(1), v4(2), v4(3)]);
    const transport = { ...broker.module, takesAddresses: true };
    connection = new Connection('fake://cluster:5', { transport });
  });

  afterEach(() => connection.close({ timeout: 500 }));

  test('tries every address of a name before any pause', async () => {
    const down = () => new RecoverableConnectionError('down', { code: 'CONNECT_FAILED' });
    broker.refuse('open', down, 2);
    const errback = vi.fn();
    await connection.ensureConnection({ errback });
    expect(tried()).toEqual(['10.0.0.1', '10.0.0.2', '10.0.0.3']);
    expect(errback.mock.calls.map(([, interval]) => interval)).toEqual([0, 0]);
    expect(broker.tries.map(({ hostname }) => hostname)).toEqual(['cluster', 'cluster', 'cluster']);
  });

  test('goes to the next address after a loss, and tells', async () => {
    await connection.connect();
    const failover = once(connection, 'failover') as Promise<[FailoverInfo]>;
    broker.kill();
    const [{ from, to }] = await failover;
    expect([from, to]).toEqual(['cluster:5 (10.0.0.1)', 'cluster:5 (10.0.0.2)']);
    expect(tried()).toEqual(['10.0.0.1', '10.0.0.2']);
  });

  test('an unknown name is tried again, and heard of at the deadline', async () => {
    names.clear();
    const error = await connection.connect({ timeout: 300 }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'CONNECT_FAILED', phase: 'dns' });
    expect(String(error)).toContain('ENOTFOUND');
    names.set('cluster', [v4(1)]);
    await connection.connect();
  });
});
