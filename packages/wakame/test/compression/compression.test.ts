import { randomBytes } from 'node:crypto';
import * as zlib from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CompressionRegistry, compression } from '../../src/compression/index.js';
import { DecodeError, InvalidArgumentError } from '../../src/errors.js';
import { golden } from '../golden/read.js';

const hasZstd = typeof zlib.zstdCompressSync === 'function';
const methods = ['gzip', 'bzip2', 'lzma', 'brotli', ...(hasZstd ? ['zstd'] : [])];
const rows = golden<{ length: number; packed: Record<string, string> }>('compression.json');
const bodies = rows.map(({ packed }) =>
  zlib.inflateSync(Buffer.from(packed['application/x-gzip'] as string, 'base64')),
);

describe('what Kombu 5.6.2 compressed', () => {
  test.each(rows.map((row, i) => [row.length, i] as const))('%i bytes', (length, i) => {
    const body = bodies[i] as Buffer;
    expect(body.length).toBe(length);
    for (const [contentType, packed] of Object.entries(rows[i]?.packed ?? {})) {
      if (contentType === 'application/zstd' && !hasZstd) continue;
      expect(body.equals(compression.decompress(Buffer.from(packed, 'base64'), contentType)), contentType).toBe(true);
    }
  });
});

describe.each(methods)('%s', (method) => {
  const pack = (body: Uint8Array) => compression.compress(body, method).body;
  const unpack = (body: Uint8Array, maxBytes?: number) => compression.decompress(body, method, { maxBytes });

  const expectBytesOrDecodeError = (bytes: Uint8Array, original?: Uint8Array) => {
    try {
      const result = unpack(bytes, 1_000_000);
      // Of those with a checksum, a change passes only where it hits what does not count.
      if (original !== undefined && hasChecksum) expect(Buffer.from(result).equals(original)).toBe(true);
    } catch (error) {
      expect(error).toBeInstanceOf(DecodeError);
    }
  };
  const hasChecksum = ['gzip', 'bzip2', 'lzma'].includes(method);

  test('any body comes back', () => {
    const runs = fc
      .array(fc.tuple(fc.nat(255), fc.oneof(fc.nat(3), fc.nat(700))), { maxLength: 40 })
      .map((parts) => Buffer.concat(parts.map(([byte, count]) => Buffer.alloc(count, byte))));
    const words = fc
      .array(fc.constantFrom('the ', 'quick ', 'brown ', '{"id":', '}', '\n'), { maxLength: 200 })
      .map((parts) => Buffer.from(parts.join('')));
    const body = fc.oneof(fc.uint8Array({ maxLength: 400 }), runs, words);
    fc.assert(
      fc.property(body, (bytes) => {
        expect(Buffer.from(unpack(pack(bytes))).equals(bytes)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  test('large ones too: noise, text, noise, zeros', () => {
    const noise = randomBytes(150_000);
    const text = Buffer.from(
      Array.from({ length: 12_000 }, (_, i) => `{"id":${i},"name":"item ${i % 97}"}`).join('\n'),
    );
    const body = Buffer.concat([noise, text, noise, Buffer.alloc(1_000_000), text]);
    const packed = pack(body);
    expect(packed.length).toBeLessThan(body.length / 2);
    expect(Buffer.from(unpack(packed)).equals(body)).toBe(true);
  });

  test('makes text smaller by much, and noise hardly larger', () => {
    const text = Buffer.from(
      Array.from({ length: 2000 }, (_, i) => `line ${i} of some text that goes on and on\n`).join(''),
    );
    expect(pack(text).length).toBeLessThan(text.length / 5);
    expect(pack(randomBytes(70_000)).length).toBeLessThan(70_000 * 1.02);
  });

  test('stops at the bound: not one byte more', () => {
    const body = Buffer.alloc(100_000, 'abc');
    const packed = pack(body);
    expect(unpack(packed, 100_000).length).toBe(100_000);
    expect(() => unpack(packed, 99_999)).toThrow(expect.objectContaining({ code: 'MESSAGE_TOO_LARGE' }));
    expect(() => unpack(packed, 99_999)).toThrow(DecodeError);
  });

  test('a bomb costs no more than the bound', () => {
    const bomb = pack(Buffer.alloc(64 * 1024 * 1024));
    expect(bomb.length).toBeLessThan(1024 * 1024);
    const before = process.memoryUsage().rss;
    expect(() => unpack(bomb, 100_000)).toThrow(expect.objectContaining({ code: 'MESSAGE_TOO_LARGE' }));
    expect(process.memoryUsage().rss - before).toBeLessThan(32 * 1024 * 1024);
  });

  test('whatever is broken is DECODE_FAILED, and never something else', () => {
    const original = Buffer.from('some text, some more text, and some text again'.repeat(9));
    const packed = Buffer.from(pack(original));
    for (let length = 0; length < packed.length; length++) {
      expect(() => unpack(packed.subarray(0, length))).toThrow(DecodeError);
    }
    fc.assert(
      fc.property(fc.nat(packed.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const broken = Buffer.from(packed);
        broken[at] = (broken[at] as number) ^ change;
        expectBytesOrDecodeError(broken, original);
      }),
      { numRuns: 300 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expectBytesOrDecodeError(bytes);
      }),
    );
  });
});

describe('names', () => {
  test("Kombu's aliases and content types, in both directions", () => {
    const names: Record<string, string[]> = {
      'application/x-gzip': ['gzip', 'zlib'],
      'application/x-bz2': ['bzip2', 'bzip'],
      'application/x-lzma': ['lzma', 'xz'],
      'application/x-brotli': ['brotli'],
      ...(hasZstd ? { 'application/zstd': ['zstd', 'zstandard'] } : {}),
    };
    const body = Buffer.from('body');
    for (const [contentType, aliases] of Object.entries(names)) {
      for (const name of [contentType, ...aliases]) {
        const packed = compression.compress(body, name);
        expect(packed.contentType).toBe(contentType);
        expect(Buffer.from(compression.decompress(packed.body, name)).toString()).toBe('body');
      }
    }
  });

  test("Kombu's gzip is a zlib stream; a real gzip is read too", () => {
    expect(
      Buffer.from(compression.compress(Buffer.from('x'), 'gzip').body)
        .subarray(0, 2)
        .toString('hex'),
    ).toBe('789c');
    expect(Buffer.from(compression.decompress(zlib.gzipSync('real'), 'gzip')).toString()).toBe('real');
  });

  test('unknown ones: an error of the caller when compressing, of the message when decompressing', () => {
    expect(() => compression.compress(Buffer.from(''), 'gzib')).toThrow(InvalidArgumentError);
    expect(() => compression.compress(Buffer.from(''), 'gzib')).toThrow(/did you mean 'gzip'/);
    expect(() => compression.decompress(Buffer.from(''), 'toString')).toThrow(DecodeError);
    expect(() => compression.decompress(Buffer.from(''), 'gzip', { maxBytes: -1 })).toThrow(InvalidArgumentError);
  });

  test('a method of your own', () => {
    const registry = new CompressionRegistry();
    const reverse = (body: Uint8Array) => Uint8Array.from(body).reverse();
    registry.register({
      contentType: 'application/x-reverse',
      aliases: ['reverse'],
      compress: reverse,
      decompress: reverse,
    });
    expect(registry.compress(Uint8Array.of(1, 2), 'reverse')).toEqual({
      body: Uint8Array.of(2, 1),
      contentType: 'application/x-reverse',
    });
    expect(registry.methods()).toContain('application/x-reverse');
    expect(compression.methods()).not.toContain('application/x-reverse');
  });
});

describe('bzip2', () => {
  test('reads streams one after the other, as Python does', () => {
    const parts = ['one ', 'two ', 'three'].map((text) => compression.compress(Buffer.from(text), 'bzip2').body);
    expect(Buffer.from(compression.decompress(Buffer.concat(parts), 'bzip2')).toString()).toBe('one two three');
  });

  test('goes over the end of a block of 900 000 bytes', () => {
    const body = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 2_654_435_761) % 1_000_003).join(' '));
    expect(body.length).toBeGreaterThan(1_800_000);
    expect(Buffer.from(compression.decompress(compression.compress(body, 'bzip2').body, 'bzip2')).equals(body)).toBe(
      true,
    );
  });
});

describe('lzma', () => {
  test('reads streams one after the other, with padding between them', () => {
    const parts = ['one ', 'two ', 'three'].map((text) => compression.compress(Buffer.from(text), 'lzma').body);
    const padded = Buffer.concat(parts.flatMap((part) => [part, Buffer.alloc(4)]));
    expect(Buffer.from(compression.decompress(padded, 'lzma')).toString()).toBe('one two three');
  });
});
