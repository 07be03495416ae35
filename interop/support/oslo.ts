/** What the tests with oslo.messaging share: transports of ours and a Python process on one broker. */
import { randomUUID } from 'node:crypto';
import { Transport, type TransportOptions } from '@wakame/oslo';
import { describe } from 'vitest';
import { brokerUrl } from '../../scripts/lib/brokers/environment.ts';
import { type Column, osloColumns } from './columns.ts';
import { Peer } from './peer.ts';

/** Options of oslo.messaging for both sides: what the tests leave behind goes by itself. */
const options = { amqp_auto_delete: true, rabbit_transient_queues_ttl: 60 };

/** The test broker as oslo.messaging names it, with options in the query. */
export function osloUrl(settings: Settings = {}): string {
  const { username, password, hostname, port } = new URL(brokerUrl('rabbitmq'));
  const query = new URLSearchParams(
    Object.entries(settings).map(([name, value]): [string, string] => [name, `${value}`]),
  );
  return `rabbit://${username}:${password}@${hostname}:${port}//?${query}`;
}

/** Further options of oslo_messaging_rabbit. */
export type Settings = Readonly<Record<string, boolean | number | string>>;

export function openTransport(settings: Settings = {}, transport: TransportOptions = {}): Transport {
  return new Transport(osloUrl(), { ...transport, conf: { ...options, ...settings } });
}

export async function openPeer(
  column: Column,
  settings: Settings = {},
  allowed: readonly string[] = [],
): Promise<Peer> {
  const peer = new Peer(column.peer, 'oslo_peer.py');
  const groups = { oslo_messaging_rabbit: { ...options, ...settings } };
  await peer.call('open', { url: osloUrl(), options: groups, allowed });
  return peer;
}

export function unique(stem: string): string {
  return `interop-${stem}-${randomUUID().slice(0, 8)}`;
}

/** A group of tests for each generation of oslo.messaging. */
export function withEachOslo(area: string, define: (column: Column) => void): void {
  const each = osloColumns.map((column) => ({ title: `${area}: ${column.key}`, column }));
  describe.each(each)('$title', ({ column }) => define(column));
}
