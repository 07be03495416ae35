import { ContentTooLarge, FrameError, UnexpectedFrame } from '../errors.js';
import { DecodedProperties } from './properties.js';
import { BASIC_CLASS_ID } from './spec.js';

/** The longest body that is accepted unless configured otherwise: 128 MiB. */
export const DEFAULT_MAX_BODY_BYTES = 134_217_728;

/**
 * Bodies from this size on, when they lie whole in one chunk, are slices of it; smaller ones are copied, so that a
 * retained message of a few bytes does not keep a whole 64 KiB chunk alive.
 */
const SLICE_FROM = 4096;

const EMPTY = Buffer.alloc(0);
const NO_PROPERTIES = new DecodedProperties(Buffer.alloc(2));

/** Told by a {@link ContentAssembler} what came. `method` is what was given to {@link ContentAssembler.begin}. */
export interface ContentHandler<M> {
  /** A message is complete; its properties and body are the receiver's to keep. */
  onContent(method: M, properties: DecodedProperties, body: Buffer): void;
  /**
   * A body longer than `maxBodyBytes` was announced. Called once, when its header comes; its bytes are read over as
   * they come and nothing more is told of it. The channel and the connection can go on.
   */
  onContentTooLarge(method: M, properties: DecodedProperties, error: ContentTooLarge): void;
}

export interface ContentOptions {
  /** The longest body to accept, in bytes. Default 128 MiB. */
  readonly maxBodyBytes?: number | undefined;
  /**
   * Bodies from this size on may be slices of the chunks given to the parser. Default 4096. `Infinity` where the
   * chunks' memory is used again after the call.
   */
  readonly sliceFrom?: number | undefined;
}

/**
 * Puts the contents of one channel together: a method that announces content, a header, and a body in as many pieces
 * as it takes. A body is complete when as many bytes came as its header said, whatever the number of frames.
 *
 * Throws UnexpectedFrame (505) or FrameError (501) when the peer breaks that order, which is the end of the
 * connection.
 */
export class ContentAssembler<M> {
  readonly #handler: ContentHandler<M>;
  readonly #maxBodyBytes: number;
  readonly #sliceFrom: number;
  #state: 'idle' | 'header' | 'body' | 'discarding' = 'idle';
  #method: M | undefined;
  #properties: DecodedProperties | undefined;
  #body: Buffer | undefined;
  #size = 0;
  #received = 0;

  constructor(handler: ContentHandler<M>, options: ContentOptions = {}) {
    this.#handler = handler;
    this.#maxBodyBytes = options.maxBodyBytes ?? DEFAULT_MAX_BODY_BYTES;
    this.#sliceFrom = options.sliceFrom ?? SLICE_FROM;
  }

  /** A method with content came; its header must be next on the channel. */
  begin(method: M): void {
    this.expectNone('a method');
    this.#state = 'header';
    this.#method = method;
  }

  /** A method without content came, which must not be in the middle of one. `what` is for the error. */
  expectNone(what: string): void {
    if (this.#state !== 'idle') throw this.#unexpected(what);
  }

  /** A content header came; property flags and properties lie in `buffer[start, end)` and are copied. */
  header(classId: number, bodySize: number, buffer: Buffer, start: number, end: number): void {
    if (this.#state !== 'header') throw this.#unexpected('a content header');
    if (classId !== BASIC_CLASS_ID) {
      throw new UnexpectedFrame(`the peer sent a content header of class ${classId}`, { replyCode: 505 });
    }
    const properties = ownProperties(buffer, start, end);
    this.#size = bodySize;
    this.#received = 0;
    if (bodySize > this.#maxBodyBytes) {
      const method = this.#method as M;
      this.#method = undefined;
      this.#state = 'discarding';
      this.#handler.onContentTooLarge(method, properties, this.#tooLarge());
      return;
    }
    this.#properties = properties;
    if (bodySize === 0) this.#complete(EMPTY);
    else this.#state = 'body';
  }

  /** Bytes of a body came, and `left` more are to come in the same frame. */
  body(buffer: Buffer, start: number, end: number, left: number): void {
    if (this.#state !== 'body' && this.#state !== 'discarding') throw this.#unexpected('a body frame');
    const count = end - start;
    const received = this.#received + count;
    // Those to come count, or a message would be complete in the middle of a frame that is too long.
    if (received + left > this.#size) {
      throw new FrameError(`the peer sent more than the ${this.#size} bytes of body that it announced`, {
        replyCode: 501,
      });
    }
    this.#received = received;
    if (this.#state === 'discarding') {
      if (received === this.#size) this.#state = 'idle';
      return;
    }
    if (count === this.#size && count >= this.#sliceFrom) {
      this.#complete(buffer.subarray(start, end));
      return;
    }
    // Small ones come from Node's pool; large ones have memory of their own, taken when the first byte comes.
    this.#body ??= Buffer.allocUnsafe(this.#size);
    buffer.copy(this.#body, received - count, start, end);
    if (received === this.#size) this.#complete(this.#body);
  }

  /** Becomes idle first, so that the handler may do whatever it likes. */
  #complete(body: Buffer): void {
    const method = this.#method as M;
    const properties = this.#properties as DecodedProperties;
    this.#state = 'idle';
    this.#method = undefined;
    this.#properties = undefined;
    this.#body = undefined;
    this.#handler.onContent(method, properties, body);
  }

  #tooLarge(): ContentTooLarge {
    return new ContentTooLarge(
      `a message with a body of ${this.#size} bytes came, and at most ${this.#maxBodyBytes} are accepted (maxBodyBytes)`,
    );
  }

  #unexpected(what: string): UnexpectedFrame {
    const awaited = { idle: 'a method', header: 'a content header', body: 'the rest of a body' };
    const wanted = awaited[this.#state === 'discarding' ? 'body' : this.#state];
    return new UnexpectedFrame(`the peer sent ${what} where ${wanted} had to come`, { replyCode: 505 });
  }
}

/** Properties over a copy of their bytes, which lie in memory that is used again. */
function ownProperties(buffer: Buffer, start: number, end: number): DecodedProperties {
  if (end - start === 2 && buffer[start] === 0 && buffer[start + 1] === 0) return NO_PROPERTIES;
  const bytes = Buffer.allocUnsafe(end - start);
  buffer.copy(bytes, 0, start, end);
  return new DecodedProperties(bytes);
}
