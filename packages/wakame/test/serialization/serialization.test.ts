import { describe, expect, test } from 'vitest';
import {
  ContentDisallowed,
  DecodeError,
  EncodeError,
  NotSupportedError,
  SerializerNotInstalled,
} from '../../src/errors.js';
import { AcceptList, jsonSerializer, type Serializer, SerializerRegistry } from '../../src/serialization/index.js';
import { PyDateTime } from '../../src/transports/virtual/wire/index.js';

const registry = new SerializerRegistry();
const { dumps, loads } = {
  dumps: registry.dumps.bind(registry),
  loads: registry.loads.bind(registry),
};
const text = (body: Uint8Array) => Buffer.from(body).toString();

describe('dumps', () => {
  test('without a serializer: text, bytes, else JSON', () => {
    expect(dumps('é')).toEqual({ contentType: 'text/plain', contentEncoding: 'utf-8', body: Buffer.from('é') });
    expect(dumps(Uint8Array.of(1))).toEqual({
      contentType: 'application/data',
      contentEncoding: 'binary',
      body: Uint8Array.of(1),
    });
    expect(dumps(new ArrayBuffer(2)).body).toEqual(new Uint8Array(2));
    expect(dumps({ a: 1 })).toEqual({
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      body: Buffer.from('{"a":1}'),
    });
    for (const value of [null, 0, false, [], 5n]) expect(dumps(value).contentType).toBe('application/json');
  });

  test('with one, also for text', () => {
    expect(text(dumps('x', 'json').body)).toBe('"x"');
    expect(dumps('x', 'raw')).toEqual({
      contentType: 'application/data',
      contentEncoding: 'utf-8',
      body: Buffer.from('x'),
    });
    expect(dumps(Buffer.from('x'), 'raw').contentEncoding).toBe('binary');
    expect(dumps({ a: 1 }, 'msgpack')).toMatchObject({
      contentType: 'application/x-msgpack',
      contentEncoding: 'binary',
    });
    expect(dumps({ a: 1 }, 'yaml')).toMatchObject({ contentType: 'application/x-yaml', contentEncoding: 'utf-8' });
  });

  test('with one by its content type', () => {
    expect(text(dumps('x', 'application/json').body)).toBe('"x"');
    expect(dumps({ a: 1 }, 'Application/X-Msgpack; charset=binary').contentType).toBe('application/x-msgpack');
    expect(() => dumps({ a: 1 }, 'application/xml')).toThrow(SerializerNotInstalled);
    expect(() => dumps({ a: 1 }, 'application/x-python-serialize')).toThrow(NotSupportedError);
    expect(['json', 'application/json; charset=utf-8', 'xml', 'text/xml'].map((name) => registry.has(name))).toEqual([
      ...[true, true, false, false],
    ]);
  });

  test('with a serializer as a value', () => {
    const typed = dumps({ at: new PyDateTime('2024-01-02T03:04:05.000006') }, jsonSerializer({ typed: true }));
    expect(typed.contentType).toBe('application/json');
    expect(text(typed.body)).toBe('{"at":{"__type__":"datetime","__value__":"2024-01-02T03:04:05.000006"}}');
  });

  test.each([
    ['an object', { a: 1 }, 'raw'],
    ['an object', { a: 1 }, 'text'],
    ['half a surrogate pair', '\ud800', undefined],
    ['half a surrogate pair', '\ud800', 'raw'],
    ['a function', () => 1, undefined],
    ['undefined', undefined, 'json'],
  ])('%s is ENCODE_FAILED', (_, value, serializer) => {
    expect(() => dumps(value, serializer)).toThrow(EncodeError);
  });

  test('an unknown serializer is named, with the nearest', () => {
    expect(() => dumps({}, 'jsno')).toThrow(SerializerNotInstalled);
    expect(() => dumps({}, 'jsno')).toThrow(/did you mean 'json'/);
    expect(() => dumps({}, 'toString')).toThrow(SerializerNotInstalled);
  });
});

describe('what is accepted', () => {
  const json = Buffer.from('1');
  const types = [
    'application/json',
    'text/plain',
    'application/data',
    'application/x-yaml',
    'application/x-msgpack',
    'application/x-python-serialize',
    'application/xml',
    'application/text',
  ];
  const accepted = (accept?: string[]) =>
    types.filter((type) => {
      try {
        loads(type === 'application/x-msgpack' ? Uint8Array.of(1) : json, type, 'utf-8', accept);
        return true;
      } catch (error) {
        expect(error).toBeInstanceOf(ContentDisallowed);
        return false;
      }
    });

  test('without a list: JSON, text and bytes', () => {
    expect(accepted()).toEqual(['application/json', 'text/plain', 'application/data']);
  });

  test('with one: what it names, and bytes', () => {
    expect(accepted([])).toEqual(['application/data']);
    expect(accepted(['json'])).toEqual(['application/json', 'application/data']);
    expect(accepted(['text/plain', 'YAML'.toLowerCase(), 'msgpack'])).toEqual([
      'text/plain',
      'application/data',
      'application/x-yaml',
      'application/x-msgpack',
    ]);
    expect(accepted(['application/xml'])).toEqual(['application/data', 'application/xml']);
  });

  test('refused content is not looked at', () => {
    expect(() => loads(Buffer.from('{broken'), 'application/json', 'utf-8', ['yaml'])).toThrow(ContentDisallowed);
    expect(() => loads(Buffer.from('a: 1'), 'application/x-yaml', 'utf-8')).toThrow(/accept: \['yaml'\]/);
  });

  test('a prepared list is the same', () => {
    const list = registry.prepareAccept(['json', 'Text/Plain']);
    expect(list).toBeInstanceOf(AcceptList);
    expect(loads(json, 'text/plain', 'utf-8', list)).toBe('1');
    expect(() => loads(json, 'application/x-yaml', 'utf-8', list)).toThrow(ContentDisallowed);
    expect(registry.prepareAccept(undefined)).toBeUndefined();
  });

  test('a name that nobody registered, or text for a list, is an error at once', () => {
    expect(() => registry.prepareAccept(['json', 'yml'])).toThrow(SerializerNotInstalled);
    expect(() => registry.prepareAccept('json')).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
    expect(() => registry.prepareAccept([5 as never])).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
  });

  test('disabled formats may be enabled, for consumers without a list', () => {
    const own = new SerializerRegistry();
    own.enableInsecure();
    expect(own.loads(Buffer.from('a: 1'), 'application/x-yaml', 'utf-8')).toEqual({ a: 1 });
    own.disable('application/x-yaml');
    expect(() => own.loads(Buffer.from('a: 1'), 'application/x-yaml', 'utf-8')).toThrow(ContentDisallowed);
    own.disableInsecure(['msgpack']);
    expect(() => own.loads(json, 'application/json', 'utf-8')).toThrow(ContentDisallowed);
    expect(own.loads(Uint8Array.of(1), 'application/x-msgpack', 'binary')).toBe(1);
    expect(own.loads(json, 'text/plain', 'utf-8')).toBe('1');
    expect(registry.loads(json, 'application/json', 'utf-8')).toBe(1);
  });
});

describe('pickle', () => {
  const pickled = Buffer.from('gASVBQAAAAAAAABdlEsBYS4=', 'base64');

  test('is never read, and the refusal says why', () => {
    expect(() => loads(pickled, 'application/x-python-serialize', 'binary')).toThrow(ContentDisallowed);
    expect(() => loads(pickled, 'application/x-python-serialize', 'binary')).toThrow(/code that runs/);
  });

  test('cannot be asked for either', () => {
    expect(() => dumps({}, 'pickle')).toThrow(NotSupportedError);
    expect(() => registry.prepareAccept(['json', 'pickle'])).toThrow(NotSupportedError);
    expect(() => registry.prepareAccept(['application/x-python-serialize'])).toThrow(NotSupportedError);
    expect(() => registry.enable('pickle')).toThrow(NotSupportedError);
  });
});

describe('loads', () => {
  test('no content type: bytes without a format, which are utf-8 text unless said otherwise, as in Kombu', () => {
    expect(loads(Buffer.from('hé'), undefined, undefined)).toBe('hé');
    expect(loads(Buffer.from('hé'), '', '')).toBe('hé');
    expect(loads(Uint8Array.of(255), undefined, 'binary')).toEqual(Uint8Array.of(255));
    expect(loads(Uint8Array.of(255), 'application/data', 'ASCII-8BIT')).toEqual(Uint8Array.of(255));
    expect(() => loads(Uint8Array.of(255), undefined, undefined)).toThrow(DecodeError);
  });

  test('an empty body is given back as it is, also for JSON', () => {
    const empty = new Uint8Array(0);
    expect(loads(empty, 'application/json', 'utf-8')).toBe(empty);
    expect(loads(empty, 'application/data', 'binary')).toBe(empty);
    expect(loads(empty, 'text/plain', 'utf-8')).toBe('');
  });

  test.each([
    ['utf-8', [0xc3, 0xa9], 'é'],
    ['UTF8', [0xef, 0xbb, 0xbf, 0x61], '\ufeffa'],
    ['utf-8-sig', [0xef, 0xbb, 0xbf, 0x61], 'a'],
    ['us-ascii', [0x61], 'a'],
    ['latin-1', [0x80, 0xe9], '\u0080é'],
    ['ISO-8859-1', [0x9f], '\u009f'],
    ['cp1252', [0x80, 0x41, 0x9f, 0xe9], '€AŸé'],
    ['Windows-1252', [0x92], '’'],
    ['windows-1251', [0xdf], 'Я'],
    ['iso-8859-15', [0xa4], '€'],
    ['iso8859_15', [0xa4], '€'],
    ['koi8-r', [0xd1], 'я'],
    ['utf-16', [0x61, 0x00], 'a'],
    ['utf-16', [0xff, 0xfe, 0x61, 0x00], 'a'],
    ['utf_16', [0xfe, 0xff, 0x00, 0x61], 'a'],
    ['UTF-16-BE', [0x00, 0x61], 'a'],
    ['utf_16_le', [0x61, 0x00], 'a'],
    ['shift_jis', [0x82, 0xa0], 'あ'],
    ['euc_jp', [0xa4, 0xa2], 'あ'],
    ['big5', [0xa4, 0xa4], '中'],
    ['gb18030', [0xd6, 0xd0], '中'],
  ])('text in %s', (charset, bytes, expected) => {
    expect(loads(Uint8Array.from(bytes), 'text/plain', charset)).toBe(expected);
  });

  test.each([
    ['us-ascii', [0x80]],
    ['cp1252', [0x81]],
    ['utf-8', [0xff]],
    ['utf-8', [0xed, 0xa0, 0x80]],
    ['utf-16', [0x61]],
    ['gzip', [0x61]],
    ['x'.repeat(500), [0x61]],
  ])('what is not %s, or no charset, is DECODE_FAILED', (charset, bytes) => {
    expect(() => loads(Uint8Array.from(bytes), 'text/plain', charset)).toThrow(DecodeError);
  });

  test('JSON is utf-8 unless it names another charset', () => {
    const latin = Buffer.from('{"a":"é"}', 'latin1');
    expect(loads(latin, 'application/json', 'latin-1')).toEqual({ a: 'é' });
    expect(loads(latin, 'Application/JSON; charset="latin1"', undefined)).toEqual({ a: 'é' });
    expect(loads(Buffer.from('{"a":"é"}', 'utf16le'), 'application/json', 'utf-16')).toEqual({ a: 'é' });
    for (const encoding of ['utf-8', 'binary', 'gzip', undefined]) {
      expect(loads(Buffer.from('{"a":"é"}'), 'application/json', encoding)).toEqual({ a: 'é' });
    }
    expect(() => loads(latin, 'application/json', 'utf-8')).toThrow(DecodeError);
  });

  test.each([
    ['application/json', '{'],
    ['application/x-yaml', '{'],
    ['application/x-msgpack', '\xc1'],
  ])('%s that is broken is DECODE_FAILED', (type, body) => {
    expect(() => loads(Buffer.from(body, 'latin1'), type, 'utf-8', [type])).toThrow(
      expect.objectContaining({ code: 'DECODE_FAILED' }),
    );
  });
});

describe('formats of your own', () => {
  const upper: Serializer = {
    name: 'upper',
    contentType: 'application/x-upper',
    contentEncoding: 'utf-8',
    encode: (value) => Buffer.from(String(value).toUpperCase()),
    decode: (body, encoding) => `${text(body).toLowerCase()} ${encoding}`,
  };

  test('are enabled when they are registered, and gone when they are unregistered', () => {
    const own = new SerializerRegistry();
    own.register(upper);
    expect(text(own.dumps('a', 'upper').body)).toBe('A');
    expect(own.loads(Buffer.from('A'), 'application/x-upper', 'UTF-8')).toBe('a utf-8');
    expect(own.loads(Buffer.from('A'), 'application/x-upper', undefined, ['upper'])).toBe('a utf-8');
    own.disable('upper');
    expect(() => own.loads(Buffer.from('A'), 'application/x-upper', 'utf-8')).toThrow(ContentDisallowed);
    own.register(upper);
    expect(own.loads(Buffer.from('A'), 'application/x-upper', 'utf-8')).toBe('a utf-8');
    own.unregister('upper');
    expect(() => own.dumps('a', 'upper')).toThrow(SerializerNotInstalled);
    expect(() => own.loads(Buffer.from('A'), 'application/x-upper', 'utf-8')).toThrow(ContentDisallowed);
    expect(() => own.unregister('upper')).toThrow(SerializerNotInstalled);
  });

  test('may replace ours', () => {
    const own = new SerializerRegistry();
    own.register({ ...upper, name: 'json', contentType: 'application/json' });
    expect(text(own.dumps({}).body)).toBe('[OBJECT OBJECT]');
    own.register({ ...upper, name: 'pickle', contentType: 'application/x-python-serialize' });
    expect(own.loads(Buffer.from('A'), 'application/x-python-serialize', 'binary', ['pickle'])).toBe('a binary');
  });

  test('errors of theirs are wrapped, and their cause is kept', () => {
    const cause = new TypeError('boom');
    const own = new SerializerRegistry();
    const boom = () => {
      throw cause;
    };
    own.register({ ...upper, encode: boom, decode: boom });
    expect(() => own.dumps(1, 'upper')).toThrow(expect.objectContaining({ code: 'ENCODE_FAILED', cause }));
    expect(() => own.loads(Buffer.from('A'), 'application/x-upper', 'utf-8')).toThrow(
      expect.objectContaining({ code: 'DECODE_FAILED', cause }),
    );
  });

  test('that only read or only write say so', () => {
    const own = new SerializerRegistry();
    own.register({ ...upper, encode: undefined });
    expect(() => own.dumps(1, 'upper')).toThrow(SerializerNotInstalled);
    own.register({ ...upper, decode: undefined });
    expect(() => own.loads(Buffer.from('A'), 'application/x-upper', 'utf-8')).toThrow(DecodeError);
  });

  test.each([
    [{ name: '' }],
    [{ name: 'a/b' }],
    [{ contentType: 'upper' }],
    [{ contentType: 'a/b; c' }],
    [{ contentType: 5 as never }],
    [{ contentEncoding: undefined as never }],
  ])('are checked: %j', (wrong) => {
    expect(() => new SerializerRegistry().register({ ...upper, ...wrong })).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
  });
});
