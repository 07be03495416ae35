import { getEventListeners } from 'node:events';
import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { InvalidArgumentError, TimeoutError } from '../../src/errors.js';
import { onAbort, raceSignal, sleep } from '../../src/util/abort.js';
import { fxrange, jitteredBackoff } from '../../src/util/backoff.js';
import {
  checkBoolean,
  checkDuration,
  checkFunction,
  checkInteger,
  checkKeys,
  checkOneOf,
  checkString,
  show,
} from '../../src/util/check.js';
import { cycleByName } from '../../src/util/cycles.js';
import { Deadline, withDeadline } from '../../src/util/deadline.js';
import { deferred } from '../../src/util/deferred.js';
import { TypedEmitter } from '../../src/util/emitter.js';
import { camelToSnake, snakeToCamel } from '../../src/util/naming.js';
import { didYouMean, nearestName } from '../../src/util/nearest.js';
import { FifoQueue } from '../../src/util/queue.js';
import { Semaphore } from '../../src/util/semaphore.js';
import { TokenBucket } from '../../src/util/token-bucket.js';
import { decodeUtf8 } from '../../src/util/utf8.js';
import { uuid } from '../../src/util/uuid.js';
import { resetWarnings, warnOnce } from '../../src/util/warnings.js';

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const listeners = (signal: AbortSignal) => getEventListeners(signal, 'abort').length;

describe('abort', () => {
  test('raceSignal gives the outcome, and leaves no listener', async () => {
    const { signal } = new AbortController();
    await expect(raceSignal(Promise.resolve(1), signal)).resolves.toBe(1);
    await expect(raceSignal(Promise.reject(new Error('x')), signal)).rejects.toThrow('x');
    expect(listeners(signal)).toBe(0);
  });

  test('raceSignal rejects with the reason, and what is late is nobody’s concern', async () => {
    const controller = new AbortController();
    const work = deferred<number>();
    const raced = raceSignal(work.promise, controller.signal);
    const reason = new Error('enough');
    controller.abort(reason);
    await expect(raced).rejects.toBe(reason);
    work.reject(new Error('late'));
    await expect(raceSignal(new Promise(() => undefined), controller.signal)).rejects.toBe(reason);
  });

  test('onAbort calls once, at once when it is too late, and never after it was taken off', () => {
    const controller = new AbortController();
    const calls: unknown[] = [];
    onAbort(controller.signal, () => calls.push('off'))();
    onAbort(controller.signal, (reason) => calls.push(reason));
    controller.abort('a');
    onAbort(controller.signal, (reason) => calls.push(reason));
    onAbort(undefined, () => calls.push('none'))();
    expect(calls).toEqual(['a', 'a']);
  });

  test('sleep ends by time or by signal, and leaves nothing behind', async () => {
    vi.useFakeTimers();
    const controller = new AbortController();
    const first = sleep(1000, { signal: controller.signal });
    vi.advanceTimersByTime(1000);
    await first;
    expect(listeners(controller.signal)).toBe(0);
    const second = sleep(1000, { signal: controller.signal, ref: false });
    controller.abort('stop');
    await expect(second).rejects.toBe('stop');
    await expect(sleep(1000, { signal: controller.signal })).rejects.toBe('stop');
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('deadlines', () => {
  test('withDeadline names what did not answer', async () => {
    vi.useFakeTimers();
    const waiting = withDeadline(new Promise(() => undefined), 'queue.declare', { timeout: 5000 });
    const checked = expect(waiting).rejects.toThrow('queue.declare: no answer within 5000 ms');
    await vi.advanceTimersByTimeAsync(5000);
    await checked;
    await expect(waiting).rejects.toBeInstanceOf(TimeoutError);
  });

  test('it leaves no timer and no listener, whatever comes first', async () => {
    vi.useFakeTimers();
    const controller = new AbortController();
    const { signal } = controller;
    await expect(withDeadline(Promise.resolve(1), 'x', { timeout: 5000, signal })).resolves.toBe(1);
    await expect(withDeadline(Promise.reject(new Error('no')), 'x', { timeout: 5000, signal })).rejects.toThrow('no');
    expect([vi.getTimerCount(), listeners(signal)]).toEqual([0, 0]);
    const aborted = withDeadline(new Promise(() => undefined), 'x', { timeout: 5000, signal });
    controller.abort('stop');
    await expect(aborted).rejects.toBe('stop');
    expect(vi.getTimerCount()).toBe(0);
  });

  test('a time longer than a timer can hold does not fire at once', async () => {
    await expect(
      withDeadline(
        sleep(5).then(() => 'done'),
        'x',
        { timeout: 2 ** 40 },
      ),
    ).resolves.toBe('done');
    await expect(withDeadline(Promise.resolve(2), 'x', {})).resolves.toBe(2);
  });

  test('Deadline counts down', () => {
    vi.useFakeTimers();
    const deadline = new Deadline(100);
    vi.advanceTimersByTime(60);
    expect([deadline.remaining, deadline.atMost(10), deadline.atMost(1000), deadline.passed]).toEqual([
      40,
      10,
      40,
      false,
    ]);
    vi.advanceTimersByTime(60);
    expect([deadline.remaining, deadline.passed]).toEqual([0, true]);
    expect(new Deadline(undefined).remaining).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('FifoQueue', () => {
  test('is a queue', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.nat(), fc.constantFrom('shift', 'unshift', 'drain', 'peek')), { maxLength: 300 }),
        (steps) => {
          const queue = new FifoQueue<number | string>();
          let model: (number | string)[] = [];
          for (const step of steps) {
            if (step === 'shift') expect(queue.shift()).toBe(model.shift());
            else if (step === 'peek') expect(queue.peek()).toBe(model[0]);
            else if (step === 'unshift') {
              queue.unshift(step);
              model.unshift(step);
            } else if (step === 'drain') {
              expect(queue.drain()).toEqual(model);
              model = [];
            } else {
              queue.push(step);
              model.push(step);
            }
            expect(queue.size).toBe(model.length);
          }
          expect([...queue]).toEqual(model);
        },
      ),
    );
  });
});

describe('Semaphore', () => {
  test('lets in as many as it may, in the order they came', async () => {
    const semaphore = new Semaphore(2);
    const order: number[] = [];
    const enter = (n: number) => semaphore.acquire().then(() => order.push(n));
    const all = [1, 2, 3, 4].map(enter);
    await Promise.all(all.slice(0, 2));
    expect([order, semaphore.held, semaphore.waiting]).toEqual([[1, 2], 2, 2]);
    expect(semaphore.tryAcquire()).toBe(false);
    semaphore.release();
    await all[2];
    semaphore.limit = 3;
    await all[3];
    expect([order, semaphore.held]).toEqual([[1, 2, 3, 4], 3]);
  });

  test('an aborted wait holds nothing and blocks nobody', async () => {
    const semaphore = new Semaphore(1);
    await semaphore.acquire();
    const controller = new AbortController();
    const aborted = semaphore.acquire({ signal: controller.signal });
    const next = semaphore.acquire();
    controller.abort('stop');
    await expect(aborted).rejects.toBe('stop');
    await expect(semaphore.acquire({ signal: controller.signal })).rejects.toBe('stop');
    semaphore.release();
    await next;
    expect([semaphore.held, semaphore.waiting, listeners(controller.signal)]).toEqual([1, 0, 0]);
  });

  test('is over-release safe', () => {
    const semaphore = new Semaphore(1);
    semaphore.release();
    expect([semaphore.tryAcquire(), semaphore.tryAcquire()]).toEqual([true, false]);
    expect(() => new Semaphore(0)).toThrow(InvalidArgumentError);
  });
});

describe('TokenBucket', () => {
  test('fills at its rate up to its capacity', () => {
    let now = 0;
    const bucket = new TokenBucket(2, 3, () => now);
    expect([bucket.canConsume(3), bucket.canConsume(), bucket.expectedTime(), bucket.expectedTime(3)]).toEqual([
      true,
      false,
      500,
      1500,
    ]);
    now = 750;
    expect([bucket.canConsume(), bucket.canConsume(), bucket.expectedTime()]).toEqual([true, false, 250]);
    now = 60_000;
    expect([bucket.canConsume(4), bucket.canConsume(3), bucket.expectedTime(4)]).toEqual([
      false,
      true,
      Number.POSITIVE_INFINITY,
    ]);
  });

  test('consume waits for its tokens, or for the signal', async () => {
    vi.useFakeTimers();
    const bucket = new TokenBucket(1);
    await bucket.consume();
    const next = bucket.consume();
    await vi.advanceTimersByTimeAsync(1000);
    await next;
    await expect(bucket.consume(2)).rejects.toBeInstanceOf(InvalidArgumentError);
    const controller = new AbortController();
    const aborted = bucket.consume(1, { signal: controller.signal });
    controller.abort('stop');
    await expect(aborted).rejects.toBe('stop');
    await expect(bucket.consume(1, { signal: controller.signal })).rejects.toBe('stop');
    expect(vi.getTimerCount()).toBe(0);
  });

  test.each([[0], [-1], [Number.NaN]])('refuses a rate or capacity of %s', (value) => {
    expect(() => new TokenBucket(value)).toThrow(InvalidArgumentError);
    expect(() => new TokenBucket(1, value)).toThrow(InvalidArgumentError);
  });
});

describe('TypedEmitter', () => {
  class Thing extends TypedEmitter<{ done: [count: number]; problem: [error: Error] }> {
    complain(cause: string) {
      this.emitOrWarn('problem', cause, `something is wrong: ${cause}`, new Error(cause));
    }
  }

  test('a listener that throws disturbs neither the emitter nor its caller', async () => {
    const thing = new Thing();
    const late = new Promise((resolve) => {
      // The runner listens too, and would call it a failure.
      const others = process.listeners('uncaughtException');
      process.removeAllListeners('uncaughtException');
      process.once('uncaughtException', (error) => {
        for (const listener of others) process.on('uncaughtException', listener);
        resolve(error);
      });
    });
    const error = new Error('in the listener');
    thing.on('done', () => {
      throw error;
    });
    expect(thing.emit('done', 1)).toBe(true);
    expect(await late).toBe(error);
  });

  test('a problem that nobody hears is a warning, once per cause', () => {
    resetWarnings();
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    const thing = new Thing();
    thing.complain('a');
    thing.complain('a');
    thing.complain('b');
    expect(warn.mock.calls.map(([message]) => message)).toEqual(['something is wrong: a', 'something is wrong: b']);
    const heard: string[] = [];
    thing.on('problem', (error) => heard.push(error.message));
    thing.complain('c');
    expect([heard, warn.mock.calls.length]).toEqual([['c'], 2]);
  });

  test('says whether anybody listened', () => {
    const thing = new Thing();
    expect(thing.emit('done', 1)).toBe(false);
    thing.once('done', () => undefined);
    expect([thing.emit('done', 1), thing.emit('done', 2)]).toEqual([true, false]);
  });
});

test('warnOnce is bounded', () => {
  resetWarnings();
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  for (let i = 0; i < 5000; i++) warnOnce(`cause ${i}`, 'x');
  expect(warn.mock.calls.length).toBe(1000);
  resetWarnings();
});

describe('nearest name', () => {
  const known = ['heartbeat', 'connect_timeout', 'login_method', 'redis', 'amqp'];
  test.each([
    ['hartbeat', 'heartbeat'],
    ['HEARTBEAT', 'heartbeat'],
    ['heartbaet', 'heartbeat'],
    ['connectTimeout', 'connect_timeout'],
    ['reddis', 'redis'],
    ['ampq', 'amqp'],
    ['xyz', undefined],
    ['', undefined],
  ])('%s: %s', (name, nearest) => {
    expect(nearestName(name, known)).toBe(nearest);
  });

  test('as the end of a message', () => {
    expect(didYouMean('ampq', known)).toBe(" (did you mean 'amqp'?)");
    expect(didYouMean('xyz', known)).toBe('');
    expect(didYouMean('x'.repeat(1_000_000), known)).toBe('');
  });
});

describe('checks', () => {
  test('durations', () => {
    expect([
      checkDuration('t', 0),
      checkDuration('t', 1.5),
      checkDuration('t', Number.POSITIVE_INFINITY, { allowInfinity: true }),
    ]).toEqual([0, 1.5, Number.POSITIVE_INFINITY]);
    for (const value of [-1, Number.NaN, Number.POSITIVE_INFINITY, '5', undefined, null, 5n]) {
      expect(() => checkDuration('timeout', value)).toThrow(
        expect.objectContaining({
          code: 'INVALID_ARGUMENT',
          message: expect.stringMatching(/^timeout must be a duration/),
        }),
      );
    }
    expect(() => checkDuration('t', 5, { min: 10 })).toThrow('10');
    expect(() => checkDuration('t', 50, { min: 10, max: 20 })).toThrow('from 10 to 20');
  });

  test('integers', () => {
    expect([checkInteger('n', 0), checkInteger('n', -1, { min: -1 }), checkInteger('n', 7, { max: 7 })]).toEqual([
      0, -1, 7,
    ]);
    for (const value of [-1, 1.5, Number.NaN, 2 ** 53, '1', 1n])
      expect(() => checkInteger('n', value)).toThrow(InvalidArgumentError);
    expect(() => checkInteger('n', 8, { max: 7 })).toThrow('n must be an integer from 0 to 7, not 8');
  });

  test('strings, booleans, functions', () => {
    const fn = () => 1;
    expect([checkString('s', ''), checkBoolean('b', false), checkFunction('f', fn)]).toEqual(['', false, fn]);
    expect(() => checkString('s', 5)).toThrow('s must be a string, not 5');
    expect(() => checkBoolean('b', 0)).toThrow('b must be true or false, not 0');
    expect(() => checkFunction('f', 'x' as never)).toThrow("f must be a function, not 'x'");
  });

  test('one of several', () => {
    expect(checkOneOf('type', 'topic', ['direct', 'topic'])).toBe('topic');
    expect(() => checkOneOf('type', 'topik', ['direct', 'topic'])).toThrow(
      "type must be one of 'direct', 'topic', not 'topik' (did you mean 'topic'?)",
    );
    expect(() => checkOneOf('type', 5, ['direct'])).toThrow(InvalidArgumentError);
  });

  test('keys of options', () => {
    const known = new Set(['prefetch', 'queues']);
    checkKeys('Consumer', { prefetch: 1, qeues: undefined }, known);
    expect(() => checkKeys('Consumer', { prefetsh: 1 }, known)).toThrow(
      "Consumer has no option 'prefetsh' (did you mean 'prefetch'?)",
    );
  });

  test('values are shown short, and without running their code', () => {
    const spy = { [Symbol.for('nodejs.util.inspect.custom')]: () => 'ran' };
    expect(show(spy)).not.toBe('ran');
    expect(show('x'.repeat(10_000)).length).toBeLessThan(120);
    expect(show({ a: { b: { c: {} } }, d: new Array(1000).fill('long text'.repeat(10)) }).length).toBeLessThan(250);
  });
});

describe('cycles of queues', () => {
  test('round_robin: what was used goes to the end (kombu#166)', () => {
    const cycle = cycleByName<string>('round_robin');
    cycle.update(['a', 'b', 'c']);
    cycle.rotate('a');
    cycle.rotate('c');
    cycle.rotate('unknown');
    expect([cycle.consume(2), cycle.consume(9)]).toEqual([
      ['b', 'a'],
      ['b', 'a', 'c'],
    ]);
  });

  test('priority: the order stays; sorted: by name', () => {
    const priority = cycleByName<string>('priority');
    priority.update(['b', 'a']);
    priority.rotate('b');
    expect(priority.consume(2)).toEqual(['b', 'a']);
    const sorted = cycleByName<string>('sorted');
    sorted.update(['c', 'b', 'a']);
    sorted.rotate('c');
    expect(sorted.consume(2)).toEqual(['b', 'c']);
    expect(() => cycleByName('round-robin')).toThrow(/round_robin/);
  });
});

describe('pauses', () => {
  test("fxrange is Kombu's series", () => {
    const take = (options: { start: number; step: number; max: number }, count: number) => {
      const series = fxrange(options);
      return Array.from({ length: count }, () => series.next().value);
    };
    expect(take({ start: 2, step: 2, max: 30 }, 18)).toEqual([
      2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 32, 32,
    ]);
    expect(take({ start: 1, step: 1, max: 1 }, 4)).toEqual([1, 2, 2, 2]);
    expect(take({ start: 0, step: 0.2, max: 1 }, 3)).toEqual([0, 0.2, 0.4]);
  });

  test('jitter lies between the half and the whole, and grows up to the most', () => {
    const pauses = (random: number) =>
      [0, 1, 2, 20, 5000].map((attempt) => jitteredBackoff(attempt, { start: 100, max: 1000, random: () => random }));
    expect(pauses(0)).toEqual([50, 100, 200, 500, 500]);
    expect(pauses(1)).toEqual([100, 200, 400, 1000, 1000]);
    expect(jitteredBackoff(0)).toBeGreaterThanOrEqual(125);
  });
});

test('names in camelCase and snake_case', () => {
  const pairs = [
    ['connectTimeout', 'connect_timeout'],
    ['userid', 'userid'],
    ['maxLengthBytes', 'max_length_bytes'],
  ] as const;
  for (const [camel, snake] of pairs) {
    expect(camelToSnake(camel)).toBe(snake);
    expect(snakeToCamel(snake)).toBe(camel);
  }
  expect(snakeToCamel('_private')).toBe('_private');
});

test('utf-8 is read strictly', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      let expected: string | undefined;
      try {
        expected = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
      } catch {
        expected = undefined;
      }
      expect(decodeUtf8(bytes)).toBe(expected);
    }),
  );
  expect(decodeUtf8(Buffer.from('é漢😀'))).toBe('é漢😀');
});

test('uuid', () => {
  expect(uuid()).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(uuid()).not.toBe(uuid());
});
