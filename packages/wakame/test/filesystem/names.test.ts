import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  bindingsFile,
  byAge,
  checkQueueName,
  type MessageName,
  MOST_NAME,
  parseHeld,
  parseLater,
  parseName,
  recordFile,
  remarked,
  stampAt,
  stampNow,
  writeHeld,
  writeLater,
  writeName,
} from '../../src/transports/filesystem/names.js';

const queueNames = fc.string({ unit: 'binary', minLength: 1, maxLength: 60 }).filter((name) => {
  try {
    checkQueueName(name);
    return true;
  } catch {
    return false;
  }
});
const marks = fc.record({
  priority: fc.integer({ min: 0, max: 255 }),
  expiresAt: fc.option(fc.integer({ min: 1, max: 2 ** 45 }), { nil: undefined }),
  returns: fc.integer({ min: 0, max: 10_000 }),
  bytes: fc.integer({ min: 0, max: 2 ** 30 }),
  overflowed: fc.boolean(),
});

describe('names of messages', () => {
  test('what is written is read, whatever the queue is called; and it is a name that files can have', () => {
    fc.assert(
      fc.property(queueNames, marks, (queue, given) => {
        const file = writeName(stampNow(), queue, given);
        expect(file).not.toMatch(/[/\0]/);
        expect(Buffer.byteLength(writeHeld(Number.MAX_SAFE_INTEGER, Date.now(), file))).toBeLessThanOrEqual(255);
        expect(parseName(file)).toMatchObject({ ...given, queue, file });
      }),
    );
  });

  test('anything else is no message, or one of whatever queue Kombu takes it for', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const name = parseName(text);
        // Kombu: `filename.partition('.')[2] == f'{queue}.msg'`
        const rest = text.slice(text.indexOf('.') + 1);
        if (name !== undefined)
          expect(`${name.queue}.msg`).toBe(rest.replaceAll('\uf02f', '/').replaceAll('\uf000', '\0'));
      }),
    );
    for (const text of ['', '.', 'x', '.msg', 'x.msg', '.q.msg', 'x.q', 'held', '.wakame']) {
      expect(parseName(text)).toBeUndefined();
    }
  });

  test('of Kombu', () => {
    const file = '51234567_0b9a2f10-9f3c-4c1e-8a70-2f6f6f0f9b1d.celery@host.celery.pidbox.msg';
    expect(parseName(file)).toEqual({
      ...{ file, queue: 'celery@host.celery.pidbox', stamp: 51234567 },
      ...{ priority: 0, expiresAt: undefined, returns: 0, bytes: 0, overflowed: false },
    });
  });

  test('other marks make another name in the same place', () => {
    fc.assert(
      fc.property(queueNames, marks, marks, (queue, before, after) => {
        const name = parseName(writeName(stampNow(), queue, before)) as MessageName;
        const changed = remarked(name, after);
        expect(parseName(changed.file)).toEqual(changed);
        expect(changed).toMatchObject({ ...after, queue, stamp: name.stamp });
        expect(changed.file.slice(0, 40)).toBe(name.file.slice(0, 40));
      }),
    );
  });

  test('taken, and waiting: what is written is read', () => {
    fc.assert(
      fc.property(queueNames, fc.option(fc.maxSafeInteger(), { nil: undefined }), fc.nat(), (queue, requestId, at) => {
        const message = parseName(writeName(stampNow(), queue, {})) as MessageName;
        expect(parseHeld(writeHeld(requestId, at, message.file))).toEqual({ requestId, takenAt: at, message });
        const text = writeLater(at, message.file);
        expect(parseLater(text)).toEqual({ text, dueAt: at, message });
      }),
    );
    expect([parseHeld('1-2~none'), parseHeld('x'), parseLater('12'), parseLater('~1_a.q.msg')]).toEqual(
      new Array(4).fill(undefined),
    );
  });
});

describe('order', () => {
  const message = (file: string) => parseName(file) as MessageName;
  const ordered = (files: readonly string[]) =>
    files
      .map(message)
      .sort(byAge())
      .map(({ file }) => file);

  test('is that of writing, however many in a millisecond, for us and for Kombu, which sorts text', () => {
    const files = Array.from({ length: 3000 }, () => writeName(stampNow(), 'q', {}));
    expect(ordered([...files].reverse())).toEqual(files);
    expect([...files].reverse().sort()).toEqual(files);
  });

  test('is that of the clock, also where it gets another digit', () => {
    expect(ordered(['1000_a.q.msg', '999_b.q.msg'])).toEqual(['999_b.q.msg', '1000_a.q.msg']);
  });

  test('what is from before the machine was started comes first', () => {
    const { ms } = stampNow();
    const [old, now] = [`${ms + 3_600_000}_a.q.msg`, `${ms}_b.q.msg`];
    expect(ordered([now, old])).toEqual([old, now]);
  });

  test('what is delayed stands where it would if it were sent at its time', () => {
    const now = Date.now();
    const [late, early] = [300, 200].map((ms) => writeName(stampAt(stampNow(), now + ms), 'q', {})) as [string, string];
    expect(ordered([late, early])).toEqual([early, late]);
  });
});

describe('other names', () => {
  test('queues have no longer ones than files can have', () => {
    expect(() => checkQueueName('x'.repeat(MOST_NAME))).not.toThrow();
    expect(() => checkQueueName('ü'.repeat(MOST_NAME / 2 + 1))).toThrow(/at most 140 bytes/);
    expect(() => checkQueueName('a\uf02fb')).toThrow(/U\+F02F/);
  });

  test('descriptions of different things have different files', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string({ unit: 'binary', maxLength: 150 }), { maxLength: 10 }), (names) => {
        const files = names.map(recordFile);
        expect(new Set(files).size).toBe(names.length);
        for (const file of files) expect(file).toMatch(/^[\w@+%-][\w.@+-]*\.json$/);
      }),
    );
  });

  test('only exchanges that Kombu takes have a file of its', () => {
    expect(bindingsFile('reply.celery.pidbox')).toBe('reply.celery.pidbox.exchange');
    for (const name of ['', '.', '..', 'a/b', 'a b', 'ü', '\0', 'x'.repeat(201)])
      expect(bindingsFile(name)).toBeUndefined();
  });
});
