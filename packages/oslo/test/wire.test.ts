/** The bodies of messages, as oslo.messaging writes and reads them. */
import { NoSuchMethod, PythonError, RemoteError, remoteFailureOf } from '@wakame/oslo';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseJson } from 'wakame/wire';
import { isCompatible } from '../src/version.ts';
import { DuplicateFilter } from '../src/wire/duplicates.ts';
import {
  hexId,
  packContext,
  readReply,
  readRequest,
  seal,
  unpackContext,
  unseal,
  writeReply,
  writeRequest,
} from '../src/wire/envelope.ts';
import { failureOf, readFailure, writeFailure } from '../src/wire/failure.ts';

const unsealed = (body: string) => unseal(JSON.parse(body));
const text = fc.string({ unit: 'binary' });
/** What JSON holds and gives back as it was. */
const json = fc.jsonValue().map((value) => parseJson(JSON.stringify(value)));
const name = fc.string({ minLength: 1 }).filter((key) => key !== '__proto__' && key !== '__type__');

describe('the envelope', () => {
  test('to the byte', () => {
    const reply = { msgId: 'm', replyQueue: 'reply_q', monitorTimeout: 10 };
    const request = { method: 'add', args: { a: 1 }, namespace: undefined, version: '1.2', uniqueId: 'u', reply };
    expect(seal(writeRequest({ ...request, context: { user: 'x' } }))).toBe(
      '{"oslo.version":"2.0","oslo.message":"{\\"method\\":\\"add\\",\\"args\\":{\\"a\\":1},\\"version\\":\\"1.2\\",' +
        '\\"_unique_id\\":\\"u\\",\\"_msg_id\\":\\"m\\",\\"_reply_q\\":\\"reply_q\\",\\"_timeout\\":10,\\"_context_user\\":\\"x\\"}"}',
    );
    expect(seal(writeReply({ msgId: 'm', uniqueId: 'u', result: undefined, failure: undefined, ending: true }))).toBe(
      '{"oslo.version":"2.0","oslo.message":"{\\"result\\":null,\\"failure\\":null,\\"ending\\":true,\\"_msg_id\\":\\"m\\",\\"_unique_id\\":\\"u\\"}"}',
    );
  });

  test('what is written is read', () => {
    const optional = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: undefined });
    const request = fc.record({
      method: fc.string({ minLength: 1 }),
      args: fc.dictionary(name, json),
      namespace: optional(text),
      version: optional(text),
      uniqueId: optional(text),
      context: fc.dictionary(name, json).map((context) => unpackContext(packContext(context))),
      reply: optional(
        fc.record({
          msgId: text,
          replyQueue: fc.stringMatching(/^[a-z]{1,20}$/),
          monitorTimeout: optional(fc.integer({ min: 1 })),
        }),
      ),
    });
    fc.assert(
      fc.property(request, (value) => {
        expect(readRequest(unsealed(seal(writeRequest(value))))).toEqual(value);
      }),
    );
    const reply = fc.record({
      ...{ msgId: text, uniqueId: optional(text), result: json, ending: fc.boolean() },
      failure: optional(fc.string({ minLength: 1 })),
    });
    fc.assert(
      fc.property(reply, (value) => {
        expect(readReply(unsealed(seal(writeReply(value))))).toEqual(value);
      }),
    );
  });

  test('a bare message, nulls for what is absent, the version', () => {
    expect(readRequest(unseal({ method: 'm', namespace: null, args: null }))).toMatchObject({
      ...{ method: 'm', args: {}, namespace: undefined, version: undefined, reply: undefined },
    });
    for (const version of ['2.0', '2']) {
      expect(unseal({ 'oslo.version': version, 'oslo.message': '{"a":1}' })).toEqual({ a: 1 });
    }
    for (const version of ['2.1', '1.0', '3.0', 2, null]) {
      expect(() => unseal({ 'oslo.version': version, 'oslo.message': '{}' })).toThrow('2.0');
    }
  });

  test('whatever comes, it is read or refused', () => {
    const body = fc.oneof(
      fc.jsonValue(),
      fc.record({ 'oslo.version': fc.constant('2.0'), 'oslo.message': fc.oneof(fc.json(), text) }),
    );
    const message = fc.dictionary(
      fc.constantFrom('method', 'args', '_msg_id', '_reply_q', '_timeout', 'namespace', 'result', 'failure'),
      json,
    );
    const decodes = (read: () => unknown) => {
      try {
        read();
      } catch (error) {
        expect(error).toMatchObject({ code: 'DECODE_FAILED' });
      }
    };
    fc.assert(fc.property(body, (value) => decodes(() => unseal(value))));
    fc.assert(fc.property(message, (value) => decodes(() => readRequest(value))));
    fc.assert(fc.property(message, (value) => decodes(() => readReply(value))));
  });

  test('a context named __proto__ is no prototype', () => {
    const context = unpackContext(unsealed('{"_context___proto__":{"admin":true},"_context_a":1}'));
    expect(Object.getPrototypeOf(context)).toBeNull();
    expect(context['admin']).toBeUndefined();
  });

  test('ids', () => {
    const ids = Array.from({ length: 1000 }, hexId);
    expect(new Set(ids).size).toBe(1000);
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$/);
  });
});

describe('failures', () => {
  const travel = (error: unknown, known = new Map()) => readFailure(writeFailure(failureOf(error)), known);

  test('one of Python, as it comes from there', () => {
    const wire =
      '{"class": "InstanceNotFound", "module": "nova.exception", "message": "no 7", "tb": ["Traceback\\n", "x\\n"], "args": ["no 7"], "kwargs": {"code": 404}}';
    const error = readFailure(wire, new Map());
    expect(error).toBeInstanceOf(RemoteError);
    expect(error).toMatchObject({
      message: 'InstanceNotFound: no 7',
      className: 'InstanceNotFound',
      module: 'nova.exception',
    });
    expect(remoteFailureOf(error)?.kwargs).toEqual({ code: 404 });
    class InstanceNotFound extends Error {}
    const known = readFailure(wire, new Map([['nova.exception', { InstanceNotFound }]]));
    expect(known).toBeInstanceOf(InstanceNotFound);
    expect(known.stack).toBe('InstanceNotFound_Remote: no 7\nTraceback\nx');
    // On it goes, under its own name.
    expect(JSON.parse(writeFailure(failureOf(known)))).toEqual(JSON.parse(wire));
    expect(JSON.parse(writeFailure(failureOf(error)))).toEqual(JSON.parse(wire));
  });

  test('one of our own', () => {
    expect(travel(new RangeError('far'))).toBeInstanceOf(RangeError);
    expect(travel(new NoSuchMethod('none'))).toBeInstanceOf(NoSuchMethod);
    expect(travel('a string')).toMatchObject({ message: 'a string' });
    const python = travel(new PythonError('KeyError', "'k'", { args: ['k'], kwargs: { a: 1 } }));
    expect(remoteFailureOf(python)).toMatchObject({
      className: 'KeyError',
      module: 'builtins',
      args: ['k'],
      kwargs: { a: 1 },
    });
    expect(() => new PythonError('os.system', 'x')).toThrow('className');
  });

  test('the suffix is taken off when it travels on', () => {
    const wire = { class: 'ValueError_Remote', module: 'builtins_Remote', message: 'm', tb: [], args: [], kwargs: {} };
    const error = readFailure(JSON.stringify(wire), new Map());
    expect(JSON.parse(writeFailure(failureOf(error)))).toMatchObject({ class: 'ValueError', module: 'builtins' });
  });

  test('nothing a peer sends makes anything but an error', () => {
    const classes = {
      Evil: { prototype: Error.prototype },
      Odd: class {
        constructor() {
          throw new Error('no');
        }
      },
    };
    const known = new Map<string, Record<string, unknown>>([['m', classes]]);
    fc.assert(
      fc.property(
        fc.oneof(
          fc.json(),
          text,
          fc
            .record({ class: fc.constantFrom('Evil', 'Odd', 'constructor', '__proto__'), module: fc.constant('m') })
            .map((value) => JSON.stringify(value)),
        ),
        (wire) => {
          const error = readFailure(wire, known);
          expect(error).toBeInstanceOf(RemoteError);
          expect(() => writeFailure(failureOf(error))).not.toThrow();
        },
      ),
    );
  });
});

test('versions', () => {
  const compatible: [implemented: string, requested: string][] = [
    ...([
      ['1.0', '1.0'],
      ['1.5', '1.0'],
      ['1.5', '1.5'],
      ['1.5.2', '1.5.1'],
      ['1.6', '1.5.9'],
      ['2.0', '2.0.0'],
    ] as [string, string][]),
  ];
  const not: [string, string][] = [
    ['1.0', '1.1'],
    ['2.0', '1.0'],
    ['1.0', '2.0'],
    ['1.5.1', '1.5.2'],
    ['1.0', 'x'],
    ['x', '1.0'],
  ];
  for (const [implemented, requested] of compatible) expect(isCompatible(implemented, requested)).toBe(true);
  for (const [implemented, requested] of not) expect(isCompatible(implemented, requested)).toBe(false);
});

test('the last sixteen ids are remembered', () => {
  const filter = new DuplicateFilter();
  for (let i = 0; i < 16; i++) expect(filter.isDuplicate(String(i))).toBe(false);
  for (let i = 0; i < 16; i++) expect(filter.isDuplicate(String(i))).toBe(true);
  expect(filter.isDuplicate('16')).toBe(false);
  expect(filter.isDuplicate('0')).toBe(false);
  expect(filter.isDuplicate(undefined)).toBe(false);
  expect(filter.isDuplicate(undefined)).toBe(false);
});
