/** Where the tests of RPC and notifications run: in memory, and on the broker. */
import { randomUUID } from 'node:crypto';
import { Transport, type TransportOptions } from '@wakame/oslo';
import { brokerUrl } from '../../../../scripts/lib/brokers/environment.ts';

/** URLs by name. */
export const buses: readonly { readonly name: string; readonly url: () => string }[] = [
  { name: 'memory', url: () => 'fake://' },
  { name: 'rabbitmq', url: () => rabbitUrl() },
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

/** A name that no other test uses. */
export function unique(stem: string): string {
  return `${stem}-${randomUUID().slice(0, 8)}`;
}
