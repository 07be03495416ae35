/** Kombu's mutex, which whoever sweeps records of Python's consumers has meanwhile. */
import { expect, onTestFinished, test } from 'vitest';
import { Connection } from 'wakame';
import { brokerUrl } from '../../../../scripts/lib/brokers/environment.ts';
import { eventually } from '../messaging/support.js';
import { foreignEnvelope, freshPrefix, rawClient, removeKeys } from './support.js';

const raw = rawClient();

test('it is released when there is nothing to restore, and when there is', async () => {
  const prefix = freshPrefix();
  onTestFinished(() => removeKeys(raw, prefix));
  // The index has a tag whose record is gone: its holder acknowledged in between.
  await raw.zadd(`${prefix}unacked_index`, 1, 'gone');
  const connection = new Connection(brokerUrl('redis'), {
    transportOptions: { global_keyprefix: prefix, visibility_timeout: 1, unacked_restore_interval: 0.05 },
  });
  onTestFinished(() => connection.close());
  await connection.connect();
  await eventually('the tag is forgotten', async () => (await raw.zcard(`${prefix}unacked_index`)) === 0);
  expect(await raw.exists(`${prefix}unacked_mutex`)).toBe(0);

  const record = `[${foreignEnvelope({ routingKey: 'queue' })}, "", "queue"]`;
  await raw.multi().hset(`${prefix}unacked`, 'tag', record).zadd(`${prefix}unacked_index`, 1, 'tag').exec();
  await eventually('the message is back', async () => (await raw.llen(`${prefix}queue`)) === 1);
  expect(await raw.exists(`${prefix}unacked_mutex`)).toBe(0);
});
