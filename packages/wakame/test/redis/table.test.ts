/** Exchanges and bindings, as they stand in the server. */
import { expect, onTestFinished, test } from 'vitest';
import { Connection, Exchange, Queue } from 'wakame';
import { brokerUrl } from '../../../../scripts/lib/brokers/environment.ts';
import { freshPrefix, rawClient, removeKeys } from './support.js';

const raw = rawClient();

test('a binding that somebody has damaged is DECODE_FAILED for its exchange, and for no other', async () => {
  const prefix = freshPrefix();
  onTestFinished(() => removeKeys(raw, prefix));
  const connect = () => {
    const connection = new Connection(brokerUrl('redis'), { transportOptions: { global_keyprefix: prefix } });
    onTestFinished(() => connection.close());
    return connection;
  };
  const bad = new Exchange('bad', { type: 'topic' });
  const good = new Exchange('good', { type: 'topic' });
  for (const exchange of [bad, good]) {
    await new Queue(`of ${exchange.name}`, { exchange, routingKey: '#' }).bind(connect()).declare();
  }
  await raw.hset(`${prefix}_wakame.bindings.bad`, '["queue", "q', '');

  const producer = connect().producer({ routingKey: 'k', retry: false, autoDeclare: false });
  const error = await producer.publish(1, { exchange: 'bad' }).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: 'DECODE_FAILED', outcome: 'not-sent' });
  expect(String(error)).toContain("exchange 'bad'");
  expect(await producer.publish(1, { exchange: 'good' })).toEqual({ attempts: 1 });
});
