/** Bugs of other libraries that no other test reproduces. See docs/known-bugs-of-others.md. */
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Connection } from '../../src/connection/index.js';
import { Queue } from '../../src/entities/index.js';
import { RecoverableConnectionError } from '../../src/errors.js';
import { Broadcast, SimpleBuffer, SimpleQueue } from '../../src/patterns/index.js';
import { Mailbox } from '../../src/pidbox/index.js';
import { FakeBroker } from '../support/fake-transport.js';

let broker: FakeBroker;
let connection: Connection;

beforeEach(() => {
  broker = new FakeBroker();
  connection = new Connection('fake://one', broker.options());
});

afterEach(() => connection.close({ timeout: 200 }));

describe('bugs of others', () => {
  test('nest#10562: what is published while disconnected arrives, in order', async () => {
    broker.queues.set('q', { name: 'q', options: {}, owner: undefined, messages: [] });
    const producer = connection.producer({ routingKey: 'q' });
    await producer.publish('0');
    const back = broker.rule('open', () => {
      throw new RecoverableConnectionError('down', { code: 'CONNECT_FAILED' });
    });
    broker.kill();
    await broker.until(() => connection.state === 'recovering' && broker.tries.length > 1);
    const waiting = ['1', '2', '3'].map((body) => producer.publish(body));
    back();
    expect(await Promise.all(waiting)).toEqual([{ attempts: 1 }, { attempts: 1 }, { attempts: 1 }]);
    const bodies = broker.queues.get('q')?.messages.map(({ body }) => Buffer.from(body).toString());
    expect(bodies).toEqual(['0', '1', '2', '3']);
  });

  test('kombu#2237: no queue is declared transient without being exclusive, which RabbitMQ 4.3 refuses', async () => {
    await new Queue('plain').bind(connection).declare();
    await new Queue('', { autoDelete: true }).bind(connection).declare();
    await new Broadcast('news').bind(connection).declare();
    await new SimpleQueue(connection, 'simple').put('x');
    await new SimpleBuffer(connection, 'buffer').put('x');
    const mailbox = new Mailbox('box', { connection });
    await mailbox.node('a').listen();
    await mailbox.call(['nobody'], 'ping', {}, { timeout: 1 });
    const declared = [...broker.queues.values()];
    expect(declared).toHaveLength(7);
    for (const { name, options } of declared) {
      expect([name, options.durable === true || options.exclusive === true]).toEqual([name, true]);
    }
  });
});

/** `file` and `title` of each test in the table. */
const table = readFileSync(new URL('../../../../docs/known-bugs-of-others.md', import.meta.url), 'utf8');
const rows = table.split('\n').flatMap((line) => {
  const [, , , tests = ''] = line.split('|');
  return [...tests.matchAll(/`([^`]+)` in \[[^\]]+\]\(([^)]+)\)/g)].map(([, title, file]) => [title, file] as const);
});

/** What is reported, by number, and the titles of the tests for it; rows without a number tell of what was only observed. */
const reports = table.split('\n').flatMap((line) => {
  const [, reported = '', , tests = ''] = line.split('|');
  const tags = [...reported.matchAll(/\[([^\]]+#\d+)\]/g)].map(([, tag]) => tag as string);
  return tags.length === 0 ? [] : [[tags.join(', '), tags, tests] as const];
});

describe('the table of bugs of others', () => {
  test.each(reports)('%s: its test is named after it', (_, tags, tests) => {
    expect(tags.filter((tag) => tests.includes(tag))).not.toEqual([]);
  });

  test('names tests', () => expect(rows.length).toBeGreaterThan(40));

  test.each(rows)('%s is in %s', (title, file) => {
    const source = readFileSync(new URL(`../../../../docs/${file}`, import.meta.url), 'utf8');
    expect(source.includes(title as string)).toBe(true);
  });
});
