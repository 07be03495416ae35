import { DecodeError, InvalidArgumentError } from '../errors.js';
import { checkFunction, checkInteger, checkString, show } from '../util/check.js';
import { didYouMean } from '../util/nearest.js';
import { type Compressor, codecs } from './codecs.js';

/** How far to decompress. */
export interface DecompressOptions {
  /** Most bytes that a body may become. Default 128 MiB. */
  readonly maxBytes?: number | undefined;
}

/** A compressed body, and the method as the `compression` header names it. */
export interface Compressed {
  readonly body: Uint8Array;
  readonly contentType: string;
}

const DEFAULT_MAX_BYTES = 128 * 1024 * 1024;

/**
 * Ways to compress bodies (`kombu.compression`): `gzip` (zlib), `bzip2`, `lzma` (xz), `brotli`, `zstd`. All run at once, in the
 * caller's turn: a message is small, and to hand it to another thread takes longer than to compress it.
 */
export class CompressionRegistry {
  readonly #byName = new Map<string, Compressor>();

  constructor() {
    for (const codec of codecs) this.register(codec);
  }

  /** Adds a method, or replaces those of its names. */
  register(compressor: Compressor): void {
    checkFunction('compress', compressor.compress);
    checkFunction('decompress', compressor.decompress);
    for (const name of [compressor.contentType, ...(compressor.aliases ?? [])]) {
      this.#byName.set(checkString('contentType', name), compressor);
    }
  }

  /** The content types of the methods. */
  methods(): string[] {
    return [...new Set([...this.#byName.values()].map(({ contentType }) => contentType))];
  }

  /**
   * Compresses by a method, named by an alias or its content type. Throws INVALID_ARGUMENT for a name that nobody registered;
   * NOT_SUPPORTED when the runtime lacks the method (zstd before Node.js 22.15).
   */
  compress(body: Uint8Array, name: string): Compressed {
    const compressor = this.#byName.get(name);
    if (compressor === undefined) {
      throw new InvalidArgumentError(
        `no compression is registered as ${show(name)}${didYouMean(name, this.#byName.keys())}`,
      );
    }
    return { body: compressor.compress(body), contentType: compressor.contentType };
  }

  /**
   * Undoes the compression that a message's header names. Throws DECODE_FAILED for an unknown name or a broken body, MESSAGE_TOO_LARGE
   * for one that is more than `maxBytes`, and as {@link compress} when the runtime lacks the method.
   */
  decompress(body: Uint8Array, name: string, options: DecompressOptions = {}): Uint8Array {
    const maxBytes = checkInteger('maxBytes', options.maxBytes ?? DEFAULT_MAX_BYTES, { min: 1 });
    const compressor = this.#byName.get(name);
    if (compressor === undefined) throw new DecodeError(`unknown compression ${show(name)}`);
    return compressor.decompress(body, maxBytes);
  }
}

/** The registry that the library uses. */
export const compression = new CompressionRegistry();
