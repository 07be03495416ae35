/** Where the tests of RPC and notifications run: in memory, on brokers, and in a file. */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Transport, type TransportOptions } from '@wakame/oslo';
import { expect } from 'vitest';
import { brokerUrl } from '../../../../scripts/lib/brokers/environment.ts';

/** URLs by name. */
export const buses: readonly { readonly name: string; readonly url: () => string }[] = [
  { name: 'memory', url: () => 'fake://' },
  { name: 'rabbitmq', url: () => rabbitUrl() },
  { name: 'redis', url: () => brokerUrl('redis') },
  { name: 'sqlite', url: () => `sqlite:${file()}` },
];

let folder: string | undefined;

/** A database for this process, gone with it. */
function file(): string {
  if (folder === undefined) {
    const made = mkdtempSync(join(tmpdir(), 'wakame-oslo-'));
    process.on('exit', () => rmSync(made, { recursive: true, force: true }));
    folder = made;
  }
  return join(folder, 'bus.sqlite');
}

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
