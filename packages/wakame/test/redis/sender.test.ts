/** In which order messages leave, when a queue turns out to be another one. */
import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { redisSettings } from '../../src/transports/redis/options.js';
import { Sender } from '../../src/transports/redis/sender.js';
import { RedisTable } from '../../src/transports/redis/table.js';
import type { Outbound } from '../../src/transports/virtual/driver.js';
import { deferred } from '../../src/util/deferred.js';
import { parametersFor } from './support.js';

/** What is sent, and the answers to transactions; a script answers that all was stored, in a queue with that incarnation if it is plain. */
function setUp() {
  const sent: string[] = [];
  const transactions: { answer(takenOut: readonly number[]): void; fail(error: Error): void }[] = [];
  const plain = { incarnation: 1 };
  const run = async (_name: string, args: (string | number)[]) => {
    sent.push(`script: ${bodies(String(args.at(-1)))}`);
    await setImmediate();
    return [-1, [plain.incarnation]];
  };
  const settings = redisSettings(parametersFor('redis://localhost/0'), 1000);
  const table = new RedisTable({ run, separator: settings.separator, bindingsChanged: async () => {} });
  const sender = new Sender({
    ...{ settings, table, run, dueIn: () => {} },
    transaction: (commands) => {
      sent.push(`transaction: ${bodies(commands.bytes.toString())}`);
      const { promise, resolve, reject } = deferred<readonly unknown[]>();
      transactions.push({ answer: (takenOut) => resolve([2, takenOut]), fail: reject });
      return promise;
    },
  });
  const send = (...texts: readonly string[]) => sender.send(texts.map(outbound));
  return { sent, send, transactions, plain };
}

function outbound(text: string): Outbound {
  return { queue: 'q', message: { body: Buffer.from(text), properties: {}, exchange: '', routingKey: 'q' } };
}

function bodies(commands: string): string {
  return [...commands.matchAll(/"body":"([^"]*)"/g)].map(([, body]) => Buffer.from(`${body}`, 'base64')).join(' ');
}

test('what was taken out goes by the script, and before what comes later', async () => {
  const { sent, send, transactions, plain } = setUp();
  await send('0');
  const answers = [send('1', '2'), send('3', '4')];
  plain.incarnation = 0;
  transactions[0]?.answer([1]);
  while (!sent.includes('script: 1 2')) await Promise.resolve();
  // The other transaction has no answer yet, and its messages come first.
  const later = [send('5'), send('6')];
  transactions[1]?.answer([1]);
  expect(await Promise.all([...answers, ...later])).toEqual([
    ['stored', 'stored'],
    ['stored', 'stored'],
    ['stored'],
    ['stored'],
  ]);
  expect(sent).toEqual([
    ...['script: 0', 'transaction: 1 2', 'transaction: 3 4'],
    ...['script: 1 2', 'script: 3 4', 'script: 5', 'script: 6'],
  ]);
});

test('a transaction that fails holds nothing up', async () => {
  const { sent, send, transactions, plain } = setUp();
  await send('0');
  const answers = [send('1'), send('2')];
  plain.incarnation = 0;
  transactions[0]?.answer([1]);
  await answers[0];
  const later = send('3');
  transactions[1]?.fail(new Error('gone'));
  await expect(answers[1]).rejects.toThrow('gone');
  expect(await later).toEqual(['stored']);
  expect(sent).toEqual(['script: 0', 'transaction: 1', 'transaction: 2', 'script: 1', 'script: 3']);
});
