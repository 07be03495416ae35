import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { Connection, Mailbox, uuid } from 'wakame';
import { Count } from '../messaging/support.js';

// One that another process reaches.
const url = process.env.WAKAME_TEST_RABBITMQ_URL as string;
const connection = new Connection(url);

afterEach(() => connection.close());

test('a command that ends its process at once does not come back, though its queue is durable', async () => {
  const mailbox = new Mailbox(`wakame.test.exit.${uuid()}`, { connection, queueDurable: true });
  const script = fileURLToPath(new URL('./exit.child.ts', import.meta.url));
  const loader = new URL('../support/source-loader.mjs', import.meta.url).href;
  const child = fork(script, [url, mailbox.namespace], { execArgv: ['--import', loader] });
  const ended = once(child, 'exit');
  await once(child, 'message');
  await mailbox.cast(['a'], 'die');
  await mailbox.cast(['a'], 'go on');
  expect(await ended).toEqual([7, null]);

  const heard: string[] = [];
  const done = new Count();
  const node = mailbox.node('a');
  for (const command of ['die', 'go on', 'last']) {
    node.handler(command, () => {
      heard.push(command);
      if (command === 'last') done.up();
    });
  }
  await mailbox.cast(['a'], 'last');
  await node.listen();
  await done.reach(1);
  expect(heard).toEqual(['go on', 'last']);

  await node.close();
  await mailbox.getQueue('a').bind(connection).delete();
  await mailbox.exchange.bind(connection).delete();
});
