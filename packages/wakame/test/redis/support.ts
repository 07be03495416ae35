/** Redis for tests: databases of their own, and a client that stands for Python's. */
import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { afterAll, onTestFinished } from 'vitest';
import { brokerUrl } from '../../../../scripts/lib/brokers/environment.ts';
import type { ConnectionParameters } from '../../src/transport/contract.js';
import { parametersOf } from '../virtual/harness.js';

let prefixes = 0;

/** A prefix of keys that no other test has. */
export function freshPrefix(): string {
  return `t${process.pid}.${++prefixes}.`;
}

/** A client that knows nothing of Wakame, as Python's would be. */
export function rawClient(url = brokerUrl('redis')): Redis {
  const client = new Redis(url, { protocol: 2 });
  afterAll(() => client.disconnect());
  return client;
}

/** Removes all keys with a prefix. */
export async function removeKeys(client: Redis, prefix: string): Promise<void> {
  for await (const keys of client.scanStream({ match: `${prefix}*`, count: 1000 })) {
    if ((keys as string[]).length > 0) await client.del(keys as string[]);
  }
}

/** How the driver reaches a server. */
export function parametersFor(
  url: string,
  transportOptions: Readonly<Record<string, unknown>> = {},
): ConnectionParameters {
  const { hostname, port, pathname } = new URL(url);
  return parametersOf(hostname, {
    transport: 'redis',
    port: Number(port),
    virtualHost: pathname.slice(1),
    transportOptions,
  });
}

/** A part of the shared server that is empty and nobody else's. */
export function emptyStore(options: Readonly<Record<string, unknown>> = {}): ConnectionParameters {
  const prefix = freshPrefix();
  onTestFinished(async () => {
    const client = new Redis(brokerUrl('redis'));
    await removeKeys(client, prefix);
    client.disconnect();
  });
  return parametersFor(brokerUrl('redis'), { global_keyprefix: prefix, ...options });
}

/** What Kombu 5.6 writes: member for member, with its spaces. */
export function foreignEnvelope(options: {
  readonly body?: unknown;
  readonly exchange?: string;
  readonly routingKey: string;
  readonly priority?: number;
  readonly headers?: Readonly<Record<string, unknown>>;
  readonly tag?: string;
}): string {
  const { body = { hello: 'world' }, exchange = '', routingKey, priority = 0, headers = {} } = options;
  const info = `"delivery_info": {"exchange": ${JSON.stringify(exchange)}, "routing_key": ${JSON.stringify(routingKey)}}`;
  return (
    `{"body": "${Buffer.from(JSON.stringify(body)).toString('base64')}", "content-encoding": "utf-8", ` +
    `"content-type": "application/json", "headers": ${JSON.stringify(headers).replaceAll('":', '": ')}, ` +
    `"properties": {"delivery_mode": 2, ${info}, "priority": ${priority}, "body_encoding": "base64", ` +
    `"delivery_tag": "${options.tag ?? randomUUID()}"}}`
  );
}
