/** What the tests with oslo.messaging share: transports of ours and a Python process on one broker. */
import { randomUUID } from 'node:crypto';
import { Transport, type TransportOptions } from '@wakame/oslo';
import { describe } from 'vitest';
import { brokerUrl } from '../../scripts/lib/brokers/environment.ts';
import { type Column, osloColumns } from './columns.ts';
import type { Unless } from './matrix.ts';
import { Peer } from './peer.ts';

/** Options of oslo.messaging for both sides: what the tests leave behind goes by itself. */
export const osloOptions = { amqp_auto_delete: true, rabbit_transient_queues_ttl: 60 };

/** A broker, that of the tests by default, as oslo.messaging names it, with options in the query. */
export function osloUrl(settings: Settings = {}, url = brokerUrl('rabbitmq')): string {
  const { username, password, hostname, port } = new URL(url);
  const query = new URLSearchParams(
    Object.entries(settings).map(([name, value]): [string, string] => [name, `${value}`]),
  );
  return `rabbit://${username}:${password}@${hostname}:${port}//?${query}`;
}

/** Further options of oslo_messaging_rabbit. */
export type Settings = Readonly<Record<string, boolean | number | string>>;

export function openTransport(settings: Settings = {}, transport: TransportOptions = {}): Transport {
  return new Transport(osloUrl(), { ...transport, conf: { ...osloOptions, ...settings } });
}

export async function openPeer(
  column: Column,
  settings: Settings = {},
  allowed: readonly string[] = [],
  url = osloUrl(),
): Promise<Peer> {
  const peer = new Peer(column.peer, 'oslo_peer.py');
  const groups = { oslo_messaging_rabbit: { ...osloOptions, ...settings } };
  await peer.call('open', { url, options: groups, allowed });
  return peer;
}

export function unique(stem: string): string {
  return `interop-${stem}-${randomUUID().slice(0, 8)}`;
}

/** For cells that the newest release alone has to stand for. */
export const newestOnly: Unless = ({ peer }) => (peer === 'oslo' ? undefined : 'Tried with the newest release');

/** A group of tests for each generation of oslo.messaging but those that `unless` has a reason against. */
export function withEachOslo(area: string, define: (column: Column) => void, unless: Unless = () => undefined): void {
  const chosen = osloColumns.filter((column) => unless(column) === undefined);
  const each = chosen.map((column) => ({ title: `${area}: ${column.key}`, column }));
  describe.each(each)('$title', ({ column }) => define(column));
}
