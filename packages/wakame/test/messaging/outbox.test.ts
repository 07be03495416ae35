/** What becomes of publishes when things go wrong, against a scripted broker. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Connection, type ConnectionOptions } from '../../src/connection/index.js';
import { Exchange, Queue } from '../../src/entities/index.js';
import {
  AccessRefused,
  errorForReply,
  MessageNacked,
  type MessagingError,
  NotSupportedError,
  RecoverableConnectionError,
  UnroutableError,
} from '../../src/errors.js';
import { Producer, type ProducerOptions } from '../../src/messaging/index.js';
import { resetWarnings } from '../../src/util/warnings.js';
import { FakeBroker, type FakeChannel, type Request, turn } from '../support/fake-transport.js';
import { failure, sequence } from './support.js';

let broker: FakeBroker;
let connection: Connection;
let problems: MessagingError[];

function connect(options: ConnectionOptions = {}): Connection {
  connection = new Connection('fake://one', broker.options(options));
  connection.on('problem', (error) => problems.push(error));
  return connection;
}

const producer = (options?: ProducerOptions) => new Producer(connection, options);

/** Bodies of what a queue has, in order. */
const bodies = (queue: string) =>
  (broker.queues.get(queue)?.messages ?? []).map(({ body, properties }) => {
    const text = Buffer.from(body).toString();
    return properties.contentType === 'application/json' ? JSON.parse(text) : text;
  });

/** The channel that publishes go over. */
function publishing(): FakeChannel {
  for (const one of broker.connections)
    for (const channel of one.channels) if (channel.role === 'publish') return channel;
  throw new Error('nobody publishes');
}

/** Publishes of these numbers are answered by closing the channel, each time they come. */
function refuseBodies(error: () => MessagingError, ...numbers: number[]): void {
  broker.rule('publish', ({ channel, name }: Request) => {
    const body = Number(name.split(':')[1]?.split(' ')[0]?.split('.')[1]);
    if (channel !== undefined && numbers.includes(body)) throw error();
  });
}

/** The fake broker logs routing keys, so the number of a message is in it: `q.7` goes to queue `q.7`. */
const publishNumbers = (by: Producer, count: number, options = {}) =>
  sequence(count).map((i) => by.publish(i, { routingKey: `q.${i}`, ...options }));

const sent = () =>
  broker.log.filter((line) => line.startsWith('publish ')).map((line) => Number(line.match(/q\.(\d+)/)?.[1]));

const reply = (code: number, text: string) => () => errorForReply('channel', code, text, { method: 'basic.publish' });

const noRoute = {
  ...{ replyCode: 312, replyText: 'NO_ROUTE', exchange: '', routingKey: 'q' },
  ...{ properties: {}, body: new Uint8Array() },
};

beforeEach(() => {
  broker = new FakeBroker();
  problems = [];
  broker.queues.set('q', { name: 'q', options: {}, owner: undefined, messages: [] });
  connect();
});

afterEach(async () => {
  await connection.close({ timeout: 200 });
});

describe('a loss of the connection', () => {
  test('rabbitmq-client#45: what was under way is sent again, in order, and its attempts are counted', async () => {
    const by = producer();
    await by.publish('first', { routingKey: 'q' });
    broker.hang('publish');
    const all = sequence(5).map((i) => by.publish(i, { routingKey: 'q' }));
    await broker.until(() => broker.count('publish :q confirmed') === 2);
    broker.kill();
    const results = await Promise.all(all);
    expect(results).toEqual(sequence(5).map(() => ({ attempts: 2 })));
    expect(bodies('q').slice(1)).toEqual(sequence(5));
  });

  test('what is sent again, or waited, asks for replies to the present name of a queue that the broker named', async () => {
    const channel = connection.channel();
    const first = (await channel.queueDeclare('', { exclusive: true })).queue;
    const by = producer();
    await by.publish('first', { routingKey: 'q' });
    broker.hang('publish');
    const underWay = by.publish('under way', { routingKey: 'q', replyTo: first, correlationId: '7' });
    await broker.until(() => broker.count('publish :q confirmed') === 2);
    broker.kill();
    const waiting = by.publish('waiting', { routingKey: 'q', replyTo: first });
    const toItself = by.publish('to itself', { routingKey: first });
    await Promise.all([underWay, waiting, toItself]);
    const present = connection.topology.currentName(first);
    expect(present).not.toBe(first);
    const properties = broker.queues.get('q')?.messages.map((message) => message.properties);
    expect(properties?.map(({ replyTo }) => replyTo)).toEqual([undefined, present, present]);
    expect(properties?.[1]?.correlationId).toBe('7');
    expect(bodies(present)).toEqual(['to itself']);
  });

  test('what never left the transport does not count as an attempt', async () => {
    const by = producer();
    await by.publish('first', { routingKey: 'q' });
    const channel = publishing();
    broker.rule('publish', ({ channel: of }: Request) => {
      if (of === channel) throw new RecoverableConnectionError('full', { outcome: 'not-sent' });
    });
    expect(await by.publish('x', { routingKey: 'q' })).toEqual({ attempts: 1 });
    expect(broker.count('publish :q confirmed')).toBe(3);
  });

  test('with retry false it rejects as lost, outcome unknown; what was not sent yet waits', async () => {
    const by = producer({ retry: false });
    await by.publish('first', { routingKey: 'q' });
    broker.hang('publish');
    const under = by.publish('under way', { routingKey: 'q' });
    await broker.until(() => broker.count('publish :q confirmed') === 2);
    broker.kill();
    const later = by.publish('later', { routingKey: 'q' });
    const error = await failure(under);
    expect([error.code, error.outcome]).toEqual(['CONNECTION_LOST', 'unknown']);
    await later;
    expect(bodies('q')).toEqual(['first', 'later']);
  });

  test('a count of retries is kept', async () => {
    const by = producer({ retry: 1 });
    await by.publish('first', { routingKey: 'q' });
    broker.rule('publish', () => new Promise(() => undefined));
    const under = by.publish('x', { routingKey: 'q' });
    const outcome = failure(under);
    for (const times of [2, 3]) {
      await broker.until(() => broker.count('publish :q confirmed') === times);
      broker.kill();
    }
    const error = await outcome;
    expect([error.code, error.outcome]).toEqual(['CONNECTION_LOST', 'unknown']);
    expect(broker.count('publish :q confirmed')).toBe(3);
  });

  test('the errback of a retry policy hears of the loss and of each failed try; maxRetries bounds them', async () => {
    const by = producer();
    await by.publish('first', { routingKey: 'q' });
    const heard: string[] = [];
    broker.hang('publish');
    const under = by.publish('x', {
      routingKey: 'q',
      retryPolicy: {
        maxRetries: 2,
        intervalStart: 1,
        intervalStep: 0,
        intervalMax: 0,
        errback: ({ message }) => heard.push(message),
      },
    });
    await broker.until(() => broker.count('publish :q confirmed') === 2);
    broker.refuse('open', () => new RecoverableConnectionError('still away'), 100);
    broker.kill();
    const error = await failure(under);
    expect([error.message, error.outcome]).toEqual(['still away', 'unknown']);
    expect(heard).toEqual(['the broker went away', 'still away', 'still away']);
  });

  test.each([
    ['refused', () => errorForReply('channel', 403, 'ACCESS_REFUSED', { method: 'basic.publish' })],
    ['unroutable', () => new UnroutableError(noRoute)],
    ['nacked', () => new MessageNacked('no', { outcome: 'refused' })],
    ['not sent', () => new NotSupportedError('not here', { outcome: 'not-sent' })],
  ])('%s when it was sent again: whether it arrived the first time nobody knows', async (_, refusal) => {
    const by = producer();
    await by.publish('first', { routingKey: 'q' });
    broker.hang('publish');
    const under = by.publish('x', { routingKey: 'q', mandatory: true });
    await broker.until(() => broker.count('publish :q confirmed') === 2);
    broker.rule('publish', () => {
      throw refusal();
    });
    broker.kill();
    const error = await failure(under);
    expect([error.code, error.outcome, error.message]).toEqual([refusal().code, 'unknown', refusal().message]);
    if (error instanceof UnroutableError) expect(error.returned.replyText).toBe(noRoute.replyText);
  });

  test('an errback that throws gives the message up', async () => {
    const by = producer();
    await by.publish('first', { routingKey: 'q' });
    broker.hang('publish');
    const reason = new Error('no more');
    const under = by.publish('x', {
      routingKey: 'q',
      retryPolicy: {
        errback: () => {
          throw reason;
        },
      },
    });
    await broker.until(() => broker.count('publish :q confirmed') === 2);
    broker.kill();
    expect(await failure(under)).toBe(reason);
    await by.publish('y', { routingKey: 'q' });
    expect(bodies('q')).toEqual(['first', 'y']);
  });

  test('an error carries the stack of whoever awaits the publish', async () => {
    const by = producer({ retry: false });
    await by.publish('first', { routingKey: 'q' });
    broker.hang('publish');
    async function theCaller(): Promise<void> {
      await by.publish('x', { routingKey: 'q' });
    }
    const outcome = failure(theCaller());
    await broker.until(() => broker.count('publish :q confirmed') === 2);
    broker.kill();
    expect((await outcome).stack).toContain('theCaller');
  });

  test('every publish has an error of its own', async () => {
    const by = producer({ retry: false });
    await by.publish('first', { routingKey: 'q' });
    broker.hang('publish');
    const outcomes = Promise.all(sequence(3).map((i) => failure(by.publish(i, { routingKey: 'q' }))));
    await broker.until(() => broker.count('publish :q confirmed') === 2);
    broker.kill();
    const errors = await outcomes;
    expect(new Set(errors).size).toBe(3);
    expect(errors.map(({ outcome }) => outcome)).toEqual(['unknown', 'unknown', 'unknown']);
  });
});

describe('a channel closed by an error', () => {
  beforeEach(() => {
    for (const i of sequence(200))
      broker.queues.set(`q.${i}`, { name: `q.${i}`, options: {}, owner: undefined, messages: [] });
  });

  test('publishes to the exchange that the reply names reject and are not sent again; the others are, in order', async () => {
    const by = producer();
    broker.exchanges.set('x', 'direct');
    await by.publish('first', { routingKey: 'q', exchange: 'x' });
    refuseBodies(reply(403, "ACCESS_REFUSED - write access to exchange 'x' in vhost '/' refused for user 'guest'"), 3);
    const all = sequence(8).map((i) => by.publish(i, { routingKey: `q.${i}`, exchange: i % 4 === 3 ? 'x' : '' }));
    const outcomes = await Promise.allSettled(all);
    expect(
      outcomes.map((outcome) => (outcome.status === 'fulfilled' ? outcome.value.attempts : outcome.reason.code)),
    ).toEqual([...[1, 1, 1, 'ACCESS_REFUSED', 2, 2, 2, 'ACCESS_REFUSED']]);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ outcome: 'refused', replyCode: 403 });
    }
    expect(sent().slice(1)).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(sequence(8).filter((i) => bodies(`q.${i}`).length === 1)).toEqual([0, 1, 2, 4, 5, 6]);
  });

  test('without retry the others say why not', async () => {
    const by = producer({ retry: false });
    await by.publish('first', { routingKey: 'q' });
    broker.exchanges.set('x', 'direct');
    refuseBodies(reply(404, "NOT_FOUND - no exchange 'x' in vhost '/'"), 1);
    const [, bad, other] = await Promise.allSettled([
      by.publish(0, { routingKey: 'q.0' }),
      by.publish(1, { routingKey: 'q.1', exchange: 'x' }),
      by.publish(2, { routingKey: 'q.2' }),
    ]);
    expect(bad).toMatchObject({ status: 'rejected', reason: { code: 'NOT_FOUND', outcome: 'refused' } });
    expect(other).toMatchObject({ status: 'rejected', reason: { code: 'CHANNEL_CLOSED', outcome: 'unknown' } });
    expect((other as PromiseRejectedResult).reason.message).toMatch(/because of another message: 404 NOT_FOUND/);
  });

  test('when the reply names nobody, the one is found: the others arrive once it has been sent alone', async () => {
    const by = producer();
    await by.publish('first', { routingKey: 'q' });
    refuseBodies(reply(406, "PRECONDITION_FAILED - user_id property set to 'somebody'"), 2);
    const outcomes = await Promise.allSettled(publishNumbers(by, 6));
    expect(outcomes.map((outcome) => (outcome.status === 'fulfilled' ? 'sent' : outcome.reason.code))).toEqual([
      ...['sent', 'sent', 'PRECONDITION_FAILED', 'sent', 'sent', 'sent'],
    ]);
    expect((outcomes[2] as PromiseRejectedResult).reason.outcome).toBe('refused');
    expect(sequence(6).map((i) => bodies(`q.${i}`).length)).toEqual([1, 1, 0, 1, 1, 1]);
    // All at once; then one by one from the first without an answer; then on.
    expect(sent().slice(1)).toEqual([0, 1, 2, 2, 3, 4, 5]);
  });

  test('a message that the channel dies of when it is alone is the one', async () => {
    const by = producer();
    await by.publish('first', { routingKey: 'q' });
    refuseBodies(reply(406, 'PRECONDITION_FAILED - invalid'), 0);
    const error = await failure(by.publish(0, { routingKey: 'q.0' }));
    expect([error.code, error.outcome]).toEqual(['PRECONDITION_FAILED', 'refused']);
  });

  test('a close that is not the fault of a message is a loss', async () => {
    const by = producer();
    await by.publish('first', { routingKey: 'q' });
    broker.hang('publish');
    const all = publishNumbers(by, 3);
    await broker.until(() => broker.log.includes('publish :q.0 confirmed'));
    publishing().end(errorForReply('channel', 541, 'INTERNAL_ERROR'));
    expect(await Promise.all(all)).toEqual(sequence(3).map(() => ({ attempts: 2 })));
  });

  test('messages already confirmed are not sent again', async () => {
    const by = producer();
    const before = await Promise.all(publishNumbers(by, 50));
    refuseBodies(reply(404, "NOT_FOUND - no exchange 'y' in vhost '/'"), 100);
    broker.exchanges.set('y', 'direct');
    const outcomes = await Promise.allSettled(
      sequence(100).map((i) => by.publish(i, { routingKey: `q.${50 + i}`, exchange: i === 50 ? 'y' : '' })),
    );
    expect(before.every(({ attempts }) => attempts === 1)).toBe(true);
    expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(1);
    expect(sequence(150).every((i) => i === 100 || bodies(`q.${i}`).length === 1)).toBe(true);
  });
});

describe('errors of one message', () => {
  test('what the broker could not do just now is tried again after a pause, while the channel lives', async () => {
    const by = producer();
    let calls = 0;
    broker.rule('publish', () => {
      if (++calls < 3) throw new NotSupportedError('locked', { code: 'STORE_ERROR', recoverable: true });
    });
    const policy = { intervalStart: 1, intervalStep: 1, intervalMax: 5 };
    expect(await by.publish('x', { routingKey: 'q', retryPolicy: policy })).toEqual({ attempts: 3 });
    expect(bodies('q')).toEqual(['x']);
  });

  test('not without retry, and not when it is the message’s own fate', async () => {
    const by = producer();
    broker.rule('publish', () => {
      throw new NotSupportedError('locked', { code: 'STORE_ERROR', recoverable: true });
    });
    const locked = await failure(by.publish('x', { routingKey: 'q', retry: false }));
    expect([locked.code, locked.outcome]).toEqual(['STORE_ERROR', 'unknown']);
    broker.rules.clear();
    broker.rule('publish', () => {
      throw new NotSupportedError('too much', { code: 'MESSAGE_TOO_LARGE', recoverable: true, outcome: 'not-sent' });
    });
    const large = await failure(by.publish('x', { routingKey: 'q' }));
    expect([large.code, large.outcome]).toEqual(['MESSAGE_TOO_LARGE', 'not-sent']);
    expect(broker.count('publish :q confirmed')).toBe(2);
  });

  test('a pause ends with the channel', async () => {
    const by = producer();
    let calls = 0;
    broker.rule('publish', () => {
      if (++calls === 1) throw new NotSupportedError('locked', { code: 'STORE_ERROR', recoverable: true });
    });
    const done = by.publish('x', { routingKey: 'q', retryPolicy: { intervalStart: 3_600_000 } });
    await broker.until(() => calls === 1);
    await turn();
    broker.kill();
    expect((await done).attempts).toBe(2);
  });
});

describe('deadlines', () => {
  test('ACM#45, celery#4296, celery#6911: TIMEOUT, not-sent, with the cause, when the broker is away', async () => {
    await connection.connect();
    broker.refuse('open', () => new RecoverableConnectionError('no route'), 1000);
    broker.kill();
    const error = await failure(producer().publish('x', { routingKey: 'q', timeout: 50 }));
    expect([error.code, error.outcome]).toEqual(['TIMEOUT', 'not-sent']);
    expect(error.message).toMatch(/not sent within 50 ms: (no route|the broker went away)/);
    expect(error.cause).toBeInstanceOf(RecoverableConnectionError);
  });

  test('TIMEOUT, unknown, when the answer does not come; a late one changes nothing, and it is not sent again', async () => {
    const by = producer();
    await by.publish('first', { routingKey: 'q' });
    broker.hang('publish');
    const error = await failure(by.publish('x', { routingKey: 'q', timeout: 30 }));
    expect([error.code, error.outcome]).toEqual(['TIMEOUT', 'unknown']);
    expect(by.bufferedBytes).toBe(0);
    broker.kill();
    await by.publish('y', { routingKey: 'q' });
    expect(bodies('q')).toEqual(['first', 'y']);
  });

  test('each publish has its own', async () => {
    await connection.connect();
    broker.hang('openChannel');
    const by = producer();
    const order: number[] = [];
    await Promise.all(
      [450, 50, 250].map((timeout) =>
        failure(by.publish('x', { routingKey: 'q', timeout })).then(() => order.push(timeout)),
      ),
    );
    expect(order).toEqual([50, 250, 450]);
  });

  test('declaring counts', async () => {
    broker.hang('queueDeclare');
    const error = await failure(producer().publish('x', { routingKey: 'q', declare: [new Queue('q')], timeout: 40 }));
    expect([error.code, error.outcome]).toEqual(['TIMEOUT', 'not-sent']);
  });
});

describe('the first connect', () => {
  test('what refuses it rejects all that waits, not-sent; a later publish tries anew', async () => {
    broker.refuse('open', () => new AccessRefused('wrong password', { code: 'AUTH_FAILED' }));
    const by = producer();
    const errors = await Promise.all(sequence(3).map((i) => failure(by.publish(i, { routingKey: 'q' }))));
    expect(errors.map(({ code, outcome }) => [code, outcome])).toEqual(
      sequence(3).map(() => ['AUTH_FAILED', 'not-sent']),
    );
    expect(await by.publish('again', { routingKey: 'q' })).toEqual({ attempts: 1 });
  });

  test('closing the connection meanwhile rejects CONNECTION_CLOSED, not-sent', async () => {
    broker.hang('open');
    const waiting = failure(producer().publish('x', { routingKey: 'q' }));
    await broker.until(() => broker.log.includes('open one'));
    await connection.close({ timeout: 50 });
    const error = await waiting;
    expect([error.code, error.outcome]).toEqual(['CONNECTION_CLOSED', 'not-sent']);
  });

  test('closing a producer whose publishes get no answer rejects them at its deadline', async () => {
    const by = producer();
    await by.publish('first', { routingKey: 'q' });
    broker.hang('publish');
    const under = failure(by.publish('x', { routingKey: 'q' }));
    await by.close({ timeout: 30 });
    const error = await under;
    expect([error.code, error.outcome]).toEqual(['CHANNEL_CLOSED', 'unknown']);
  });
});

describe('order', () => {
  test('a publish behind one that has to declare waits for it; when that fails, it goes', async () => {
    const by = producer();
    await by.publish('first', { routingKey: 'q' });
    broker.refuse('queueDeclare', () => new AccessRefused('not yours'));
    const declaring = failure(by.publish('declares', { routingKey: 'q', declare: [new Queue('other')] }));
    const behind = by.publish('behind', { routingKey: 'q' });
    const error = await declaring;
    expect([error.code, error.outcome]).toEqual(['ACCESS_REFUSED', 'not-sent']);
    await behind;
    expect(bodies('q')).toEqual(['first', 'behind']);
    const declared = by.publish('declares', { routingKey: 'q', declare: [new Queue('other')] });
    await Promise.all([declared, by.publish('after', { routingKey: 'q' })]);
    expect(bodies('q')).toEqual(['first', 'behind', 'declares', 'after']);
  });

  test('an exchange is asked for once, a declared entity declared once; again after a loss', async () => {
    broker.exchanges.set('x', 'direct');
    const by = producer({ exchange: new Exchange('own') });
    const publishAll = () =>
      Promise.all([
        ...sequence(5).map(() => by.publish('a', { exchange: 'x', routingKey: 'q' })),
        ...sequence(5).map(() => by.publish('b', { routingKey: 'q', declare: [new Queue('other')] })),
      ]);
    await publishAll();
    await publishAll();
    const declarations = () =>
      ['exchangeDeclare x', 'exchangeDeclare own', 'queueDeclare other'].map((line) => broker.count(line));
    expect(declarations()).toEqual([5, 1, 1]);
    const recovered = new Promise((resolve) => connection.once('recovered', resolve));
    broker.kill();
    await recovered;
    await by.publish('c', { exchange: 'x', routingKey: 'q' });
    expect(declarations()[0]).toBe(6);
  });

  test('an abort of what was sent rejects, and it is not sent again', async () => {
    const by = producer();
    await by.publish('first', { routingKey: 'q' });
    broker.hang('publish');
    const controller = new AbortController();
    const reason = new Error('enough');
    const under = failure(by.publish('x', { routingKey: 'q', signal: controller.signal }));
    await broker.until(() => broker.count('publish :q confirmed') === 2);
    controller.abort(reason);
    expect(await under).toBe(reason);
    broker.kill();
    await by.publish('y', { routingKey: 'q' });
    expect(bodies('q')).toEqual(['first', 'y']);
  });
});

describe('memory', () => {
  test('BUFFER_FULL also while disconnected; ready waits', async () => {
    await connection.connect();
    const back = broker.rule('open', () => {
      throw new RecoverableConnectionError('away');
    });
    broker.kill();
    const by = producer({ maxBufferedBytes: 100_000 });
    const body = Buffer.alloc(30_000);
    const kept = sequence(3).map(() => by.publish(body, { routingKey: 'q' }));
    const full = await failure(by.publish(body, { routingKey: 'q' }));
    expect([full.code, full.outcome]).toEqual(['BUFFER_FULL', 'not-sent']);
    let ready = false;
    const waiting = by.ready().then(() => {
      ready = true;
    });
    await turn();
    expect(ready).toBe(false);
    back();
    await Promise.all([...kept, waiting]);
  });

  test('confirm: false resolves while little waits, and waits while much does', async () => {
    const by = producer({ confirm: false, maxBufferedBytes: 100_000 });
    await by.publish('first', { routingKey: 'q' });
    await by.flush();
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const free = broker.rule('publish', () => held);
    const resolved: number[] = [];
    const all = sequence(4).map((i) =>
      by.publish(Buffer.alloc(20_000), { routingKey: 'q' }).then(() => resolved.push(i)),
    );
    await broker.until(() => broker.count('publish :q confirmed') === 2);
    await turn();
    // Half of the limit is the window.
    expect(resolved).toEqual([0, 1]);
    free();
    release();
    await Promise.all(all);
    expect(resolved).toEqual([0, 1, 2, 3]);
  });
});

describe('confirm: false', () => {
  test('never rejects once resolved: what is lost is an event, or else a warning', async () => {
    resetWarnings();
    const warnings: string[] = [];
    const onWarning = ({ message }: Error) => warnings.push(message);
    process.on('warning', onWarning);
    const by = producer({ confirm: false, retry: false });
    await by.publish('first', { routingKey: 'q' });
    await by.flush();
    broker.hang('publish');
    expect(await by.publish('x', { routingKey: 'q' })).toEqual({ attempts: 1 });
    await broker.until(() => broker.count('publish :q confirmed') === 2);
    broker.kill();
    await by.flush();
    await turn();
    process.off('warning', onWarning);
    expect(warnings).toEqual([expect.stringMatching(/confirm: false was lost/)]);

    const lost = new Promise<[MessagingError, { routingKey: string }]>((resolve) => {
      by.once('lost', (error, message) => resolve([error, message]));
    });
    // Connected again.
    await by.publish('again', { routingKey: 'q' });
    await by.flush();
    broker.hang('publish');
    await by.publish('y', { routingKey: 'q', timeout: 30 });
    const [error, message] = await lost;
    expect([error.code, error.outcome, message.routingKey]).toEqual(['TIMEOUT', 'unknown', 'q']);
  });

  test('is sent again after a loss like any other', async () => {
    const by = producer({ confirm: false });
    await by.publish('first', { routingKey: 'q' });
    await by.flush();
    broker.hang('publish');
    for (const i of sequence(3)) await by.publish(i, { routingKey: 'q' });
    await broker.until(() => broker.count('publish :q confirmed') === 2);
    broker.kill();
    await by.flush();
    expect(bodies('q')).toEqual(['first', 0, 1, 2]);
  });

  test('what the transport option confirm_publish says is the default', async () => {
    const quiet = new Connection('fake://one', broker.options({ transportOptions: { confirm_publish: false } }));
    const by = new Producer(quiet);
    await by.publish('first', { routingKey: 'q' });
    await by.flush();
    broker.hang('publish');
    await by.publish('unconfirmed', { routingKey: 'q' });
    expect(by.bufferedBytes).toBeGreaterThan(0);
    await quiet.close({ timeout: 20 });
  });
});

describe('unroutable messages', () => {
  const policies = () => broker.queues.get('q')?.messages.map(({ unroutable }) => unroutable);

  test('are asked about only when somebody listens', async () => {
    const by = producer();
    await by.publish(1, { routingKey: 'q' });
    await by.publish(2, { routingKey: 'q', mandatory: true });
    by.on('returned', () => undefined);
    await by.publish(3, { routingKey: 'q' });
    by.removeAllListeners('returned');
    await by.publish(4, { routingKey: 'q' });
    connection.on('unroutable', () => undefined);
    await by.publish(5, { routingKey: 'q' });
    await producer({ onReturn: () => undefined }).publish(6, { routingKey: 'q' });
    expect(policies()).toEqual(['ignore', 'reject', 'report', 'ignore', 'report', 'report']);
  });

  test('a return is told to the producer and to the connection', async () => {
    const by = producer();
    const heard: string[] = [];
    by.on('returned', ({ replyText }) => heard.push(`producer ${replyText}`));
    connection.on('unroutable', ({ replyText }) => heard.push(`connection ${replyText}`));
    await by.publish(1, { routingKey: 'q' });
    const returned = {
      replyCode: 312,
      replyText: 'NO_ROUTE',
      exchange: '',
      routingKey: 'q',
      body: Buffer.alloc(0),
      properties: {},
    };
    publishing().events.onReturned(returned);
    expect(heard).toEqual(['producer NO_ROUTE', 'connection NO_ROUTE']);
  });
});

test('options of a producer are checked', () => {
  const refused = (options: object, pattern: RegExp) =>
    expect(() => producer(options)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(pattern) }),
    );
  refused({ exchang: 'x' }, /'exchang'.*did you mean 'exchange'/);
  refused({ exchange: 7 }, /exchange/);
  refused({ routingKey: 7 }, /routingKey/);
  refused({ maxBufferedBytes: 0 }, /maxBufferedBytes/);
  refused({ retry: 'yes' }, /retry/);
  refused({ confirm: 'no' }, /confirm/);
  refused({ onReturn: 'me' }, /onReturn/);
  refused({ schema: {} }, /schema/);
  expect(() => new Producer(null as never)).toThrow(/a Channel or a Connection is needed/);
});
