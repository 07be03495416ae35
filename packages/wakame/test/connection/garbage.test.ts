/** What a closed connection leaves behind: nothing. */
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, expect, test } from 'vitest';
import { Connection, Queue } from 'wakame';
import { resetMemory } from '../../src/transports/memory/index.js';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

afterAll(() => resetMemory('garbage'));

/** Uses a connection in every way, and closes it. */
async function used(): Promise<WeakRef<Connection>> {
  const connection = new Connection('memory://garbage');
  const queue = new Queue<string>('q').bind(connection);
  const handled = new Promise<void>((resolve) => {
    void connection.consumer(queue, { settle: 'auto', onMessage: () => resolve() }).consume();
  });
  await connection.producer().publish('x', { routingKey: 'q', declare: [queue] });
  await handled;
  await connection.simpleQueue('simple').put('x');
  await connection.close();
  return new WeakRef(connection);
}

test('a closed connection is free at once, whatever it was used for', async () => {
  const refs: WeakRef<Connection>[] = [];
  for (let i = 0; i < 20; i++) refs.push(await used());
  for (let i = 0; i < 5; i++) {
    await setImmediate();
    gc();
  }
  const alive = refs.filter((ref) => ref.deref() !== undefined);
  // The last one or two may be held by a frame or an inline cache of the engine.
  expect(alive.length).toBeLessThan(4);
});
