/** Where the tests of RPC and notifications run: in memory, and on the broker. */
import { randomUUID } from 'node:crypto';
import { Transport, type TransportOptions } from '@wakame/oslo';
import { expect } from 'vitest';
import { brokerUrl } from '../../../../scripts/lib/brokers/environment.ts';

/** URLs by name. */
export const buses: readonly { readonly name: string; readonly url: () => string }[] = [
  { name: 'memory', url: () => 'fake://' },
  { name: 'rabbitmq', url: () => rabbitUrl() },
  { name: 'redis', url: () => brokerUrl('redis') },
];

/** The test broker's URL as oslo.messaging writes it. */
export function rabbitUrl(): string {
  const { username, password, hostname, port } = new URL(brokerUrl('rabbitmq'));
  return `rabbit://${username}:${password}@${hostname}:${port}//`;
}

/** Queues of tests go soon. */
export function open(url: string, options: TransportOptions = {}): Transport {
  return new Transport(url, {
    ...options,
    conf: { rabbit_transient_queues_ttl: 60, amqp_auto_delete: true, ...options.conf },
  });
}

/** Looks until it is as expected: `await eventually(() => seen).toEqual([1])`. */
export function eventually<T>(look: () => T): ReturnType<typeof expect.poll<T>> {
  return expect.poll(look, { timeout: 15_000 });
}

/** A name that no other test uses. */
export function unique(stem: string): string {
  return `${stem}-${randomUUID().slice(0, 8)}`;
}
