import * as zlib from 'node:zlib';
import { DecodeError, NotSupportedError } from '../errors.js';
import { bunzip2 } from './bzip2/decode.js';
import { bzip2 } from './bzip2/encode.js';
import { tooLarge } from './output.js';
import { unxz, xz } from './xz/container.js';

/** A way to compress bodies. */
export interface Compressor {
  /** What the `compression` header says: `application/x-gzip`. */
  readonly contentType: string;
  /** Shorter names. */
  readonly aliases?: readonly string[] | undefined;
  readonly compress: (body: Uint8Array) => Uint8Array;
  /** Must throw rather than yield more than `maxBytes`. */
  readonly decompress: (body: Uint8Array, maxBytes: number) => Uint8Array;
}

/** What Kombu calls gzip is a zlib stream (RFC 1950). Files of gzip itself (RFC 1952) are read too. */
const gzip: Compressor = {
  contentType: 'application/x-gzip',
  aliases: ['gzip', 'zlib'],
  compress: (body) => zlib.deflateSync(body),
  decompress: (body, maxBytes) =>
    bounded('gzip', maxBytes, (options) =>
      body[0] === 0x1f && body[1] === 0x8b ? zlib.gunzipSync(body, options) : zlib.inflateSync(body, options),
    ),
};

/** Brotli's default level, 11, takes a second for two megabytes; this one a twentieth, for a tenth more bytes. */
const BROTLI_LEVEL = 5;

const brotli: Compressor = {
  contentType: 'application/x-brotli',
  aliases: ['brotli'],
  compress: (body) =>
    zlib.brotliCompressSync(body, {
      params: {
        [zlib.constants.BROTLI_PARAM_QUALITY]: BROTLI_LEVEL,
        [zlib.constants.BROTLI_PARAM_SIZE_HINT]: body.length,
      },
    }),
  decompress: (body, maxBytes) => bounded('brotli', maxBytes, (options) => zlib.brotliDecompressSync(body, options)),
};

const zstd: Compressor = {
  contentType: 'application/zstd',
  aliases: ['zstd', 'zstandard'],
  compress: (body) => withZstd().zstdCompressSync(body),
  decompress: (body, maxBytes) => {
    const { zstdDecompressSync } = withZstd();
    return bounded('zstd', maxBytes, (options) => zstdDecompressSync(body, options));
  },
};

function withZstd(): Pick<typeof zlib, 'zstdCompressSync' | 'zstdDecompressSync'> {
  if (typeof zlib.zstdCompressSync === 'function') return zlib;
  throw new NotSupportedError(`zstd compression needs Node.js 22.15 or later, and this is ${process.version}`);
}

const bzip2Codec: Compressor = {
  contentType: 'application/x-bz2',
  aliases: ['bzip2', 'bzip'],
  compress: bzip2,
  decompress: bunzip2,
};

/** LZMA2 in an .xz file. */
const lzma: Compressor = {
  contentType: 'application/x-lzma',
  aliases: ['lzma', 'xz'],
  compress: xz,
  decompress: unxz,
};

/** Node's own decompressors stop at a length. */
function bounded(
  method: string,
  maxBytes: number,
  decompress: (options: { maxOutputLength: number }) => Buffer,
): Buffer {
  try {
    return decompress({ maxOutputLength: maxBytes });
  } catch (cause) {
    const isLarge = cause instanceof Error && 'code' in cause && cause.code === 'ERR_BUFFER_TOO_LARGE';
    if (isLarge) throw tooLarge(method, maxBytes, cause);
    throw new DecodeError(`${method}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

/** Kombu's methods (`kombu.compression`). */
export const codecs: readonly Compressor[] = [gzip, bzip2Codec, lzma, brotli, zstd];
