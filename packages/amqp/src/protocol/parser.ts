import {
  FrameError,
  FrameSyntaxError,
  InvalidArgumentError,
  IrrecoverableConnectionError,
  UnexpectedFrame,
} from '../errors.js';
import { uint32 } from './bytes.js';
import { describe } from './problem.js';
import {
  DEFAULT_FRAME_MAX,
  FRAME_BODY,
  FRAME_END,
  FRAME_HEADER,
  FRAME_HEADER_SIZE,
  FRAME_HEARTBEAT,
  FRAME_METHOD,
  FRAME_MIN_SIZE,
  FRAME_OVERHEAD,
  UNLIMITED_FRAME_MAX,
} from './spec.js';

/**
 * Told by a {@link FrameParser} what it reads. The bytes lie in `buffer[start, end)` and are only valid during the
 * call, because they may lie in memory that the parser uses again; what is kept must be copied. One exception: a
 * piece of a body of two bytes or more always lies in the chunk that was given to {@link FrameParser.execute}.
 *
 * A handler that throws ends the parser: see {@link FrameParser.execute}.
 */
export interface FrameHandler {
  /** A method; `id` is `classId << 16 | methodId`, and the bytes are its fields. */
  onMethod(channel: number, id: number, buffer: Buffer, start: number, end: number): void;
  /** A content header; the bytes are property flags and properties. `bodySize` is exact up to 2^53. */
  onContentHeader(channel: number, classId: number, bodySize: number, buffer: Buffer, start: number, end: number): void;
  /**
   * Some bytes of a body frame; `left` more bytes of the frame are to come. Where a frame is cut depends on how the
   * chunks came; only the bytes in their order mean something. A frame's last byte comes after its end octet was
   * seen.
   */
  onBody(channel: number, buffer: Buffer, start: number, end: number, left: number): void;
  onHeartbeat(): void;
}

/** Between two frames, or within the first seven octets of one. */
const IN_HEADER = 0;
/** Within a method, content header or heartbeat frame that came in pieces: gathering it. */
const IN_PAYLOAD = 1;
/** Within a body frame that came in pieces: handing it on. */
const IN_BODY = 2;
/** Before the end octet of such a body frame; its last byte is held back. */
const AT_BODY_END = 3;

/** Scratch memory beyond this is given back after the frame it was needed for. */
const SCRATCH_KEPT = 131_072;
/** First octet of `AMQP`. */
const LETTER_A = 0x41;

/**
 * Reads frames (0-9-1 section 4.2.3) from chunks that may be cut anywhere.
 *
 * ```
 *   0      1         3         7                  size+7     size+8
 *   | type | channel | size    | payload …        | end 0xCE |
 * ```
 *
 * Frames that lie in one chunk are handed on where they lie. What is left at the end of a chunk is copied, and
 * completed from the next one; of a body frame nothing is copied, its pieces are handed on as they come. The messages
 * that result are the same for every way to cut the stream.
 */
export class FrameParser {
  readonly #handler: FrameHandler;
  /** Longest payload accepted. */
  #payloadMax = 0;
  #state = IN_HEADER;
  #type = 0;
  #channel = 0;
  #size = 0;
  /** In a body: bytes of the payload not yet handed on. */
  #left = 0;
  /** In a header or payload: what came of it so far. */
  #scratch = Buffer.allocUnsafeSlow(FRAME_MIN_SIZE);
  #filled = 0;
  #isFirst = true;
  #stopped = false;
  #failure: { readonly error: unknown } | undefined;

  /** `frameMax` as for {@link setFrameMax}. Default 131072. */
  constructor(handler: FrameHandler, frameMax: number = DEFAULT_FRAME_MAX) {
    this.#handler = handler;
    this.setFrameMax(frameMax);
  }

  /**
   * The longest frame to accept from now on: at least 4096, or 0 where the peers agreed on no limit (128 MiB then).
   */
  setFrameMax(frameMax: number): void {
    if (!Number.isInteger(frameMax) || (frameMax !== 0 && frameMax < FRAME_MIN_SIZE) || frameMax > 0xffff_ffff) {
      throw new InvalidArgumentError(`frameMax must be 0 or at least ${FRAME_MIN_SIZE}, not ${describe(frameMax)}`);
    }
    this.#payloadMax = Math.min(frameMax || UNLIMITED_FRAME_MAX, UNLIMITED_FRAME_MAX) - FRAME_OVERHEAD;
  }

  /**
   * Reads a chunk and calls the handler for what is complete in it. Not to be called from the handler.
   *
   * Throws, with the reply code to close the connection with: FrameError (501: wrong end octet, unknown frame type, a
   * frame longer than agreed), FrameSyntaxError (502: a frame too short for what it must hold), UnexpectedFrame (505:
   * content on channel 0); IrrecoverableConnectionError with code NOT_SUPPORTED when the peer answers with a protocol
   * header, that is, refuses the version; and whatever the handler throws. After any of these the stream has no
   * meaning any more, and every further call throws the same error again.
   */
  execute(chunk: Buffer): void {
    if (this.#failure !== undefined) throw this.#failure.error;
    try {
      this.#run(chunk);
    } catch (error) {
      this.#failure = { error };
      throw error;
    }
  }

  /** Reads over the rest of the chunk in hand and all further ones. A handler may call this. */
  stop(): void {
    this.#stopped = true;
  }

  #run(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.#stopped) {
      switch (this.#state) {
        case IN_HEADER:
          at = this.#inHeader(chunk, at);
          break;
        case IN_PAYLOAD:
          at = this.#inPayload(chunk, at);
          break;
        case IN_BODY:
          at = this.#inBody(chunk, at);
          break;
        default:
          at = this.#atBodyEnd(chunk, at);
      }
    }
  }

  #inHeader(chunk: Buffer, at: number): number {
    if (this.#filled === 0 && chunk.length - at >= FRAME_HEADER_SIZE && chunk[at] !== LETTER_A) {
      this.#readHeader(chunk, at, FRAME_HEADER_SIZE);
      const payload = at + FRAME_HEADER_SIZE;
      const end = payload + this.#size;
      if (end < chunk.length) {
        this.#checkEnd(chunk[end] as number);
        this.#dispatch(chunk, payload, end);
        return end + 1;
      }
      this.#enterPayload();
      return payload;
    }
    const first = this.#filled === 0 ? chunk[at] : this.#scratch[0];
    const wanted = first === LETTER_A ? 8 : FRAME_HEADER_SIZE;
    const next = this.#gather(chunk, at, wanted);
    if (this.#filled === wanted) {
      this.#filled = 0;
      this.#readHeader(this.#scratch, 0, wanted);
      this.#enterPayload();
    }
    return next;
  }

  /**
   * Takes type, channel and size from the first seven of `count` octets; checks them before a byte of payload is
   * stored.
   */
  #readHeader(buffer: Buffer, at: number, count: number): void {
    const type = buffer[at] as number;
    const channel = ((buffer[at + 1] as number) << 8) | (buffer[at + 2] as number);
    const size = uint32(buffer, at + 3);
    switch (type) {
      case FRAME_METHOD:
        if (size < 4) throw tooShort('method', size);
        break;
      case FRAME_HEADER:
        if (size < 14) throw tooShort('content header', size);
        if (channel === 0) throw contentOnChannel0();
        break;
      case FRAME_BODY:
        if (channel === 0) throw contentOnChannel0();
        break;
      case FRAME_HEARTBEAT:
        if (channel !== 0 || size !== 0) {
          throw frameError(`a heartbeat on channel ${channel} with ${size} bytes, instead of channel 0 and none`);
        }
        break;
      default:
        throw this.#isFirst ? notAmqp(buffer.subarray(at, at + count)) : frameError(`unknown frame type ${type}`);
    }
    if (size > this.#payloadMax) {
      throw frameError(
        `a frame of ${size + FRAME_OVERHEAD} bytes on channel ${channel}, agreed were at most ` +
          `${this.#payloadMax + FRAME_OVERHEAD}`,
      );
    }
    this.#isFirst = false;
    this.#type = type;
    this.#channel = channel;
    this.#size = size;
  }

  #enterPayload(): void {
    if (this.#type === FRAME_BODY) {
      this.#state = IN_BODY;
      this.#left = this.#size;
    } else {
      this.#state = IN_PAYLOAD;
    }
  }

  #inPayload(chunk: Buffer, at: number): number {
    const size = this.#size;
    const next = this.#gather(chunk, at, size + 1);
    if (this.#filled <= size) return next;
    const scratch = this.#scratch;
    this.#state = IN_HEADER;
    this.#filled = 0;
    if (scratch.length > SCRATCH_KEPT) this.#scratch = Buffer.allocUnsafeSlow(FRAME_MIN_SIZE);
    this.#checkEnd(scratch[size] as number);
    this.#dispatch(scratch, 0, size);
    return next;
  }

  #inBody(chunk: Buffer, at: number): number {
    const left = this.#left;
    const available = chunk.length - at;
    if (available > left) {
      const end = at + left;
      this.#checkEnd(chunk[end] as number);
      this.#state = IN_HEADER;
      this.#handler.onBody(this.#channel, chunk, at, end, 0);
      return end + 1;
    }
    let end = chunk.length;
    if (available === left) {
      // The frame's last byte stays here until the end octet is seen: no message may complete with a broken frame.
      end--;
      this.#scratch[0] = chunk[end] as number;
      this.#state = AT_BODY_END;
    }
    this.#left = left - (end - at);
    if (end > at) this.#handler.onBody(this.#channel, chunk, at, end, this.#left);
    return chunk.length;
  }

  #atBodyEnd(chunk: Buffer, at: number): number {
    this.#checkEnd(chunk[at] as number);
    this.#state = IN_HEADER;
    this.#handler.onBody(this.#channel, this.#scratch, 0, 1, 0);
    return at + 1;
  }

  #checkEnd(octet: number): void {
    if (octet !== FRAME_END) {
      throw frameError(
        `octet 0x${octet.toString(16).padStart(2, '0')} where a frame of type ${this.#type} on channel ${this.#channel} ` +
          `should end with 0xce`,
      );
    }
  }

  /** Hands on a complete frame. */
  #dispatch(buffer: Buffer, start: number, end: number): void {
    switch (this.#type) {
      case FRAME_METHOD:
        this.#handler.onMethod(this.#channel, uint32(buffer, start) | 0, buffer, start + 4, end);
        return;
      case FRAME_BODY:
        this.#handler.onBody(this.#channel, buffer, start, end, 0);
        return;
      case FRAME_HEADER: {
        const classId = ((buffer[start] as number) << 8) | (buffer[start + 1] as number);
        // Octets 2 and 3 are the weight, which means nothing.
        const bodySize = uint32(buffer, start + 4) * 4_294_967_296 + uint32(buffer, start + 8);
        this.#handler.onContentHeader(this.#channel, classId, bodySize, buffer, start + 12, end);
        return;
      }
      default:
        this.#handler.onHeartbeat();
    }
  }

  /**
   * Copies from the chunk until `wanted` bytes are in the scratch memory, which grows with what has come, not with
   * what is announced.
   */
  #gather(chunk: Buffer, at: number, wanted: number): number {
    const filled = this.#filled;
    const count = Math.min(wanted - filled, chunk.length - at);
    if (filled + count > this.#scratch.length) {
      const larger = Buffer.allocUnsafeSlow(Math.min(wanted, Math.max(filled + count, 2 * this.#scratch.length)));
      this.#scratch.copy(larger, 0, 0, filled);
      this.#scratch = larger;
    }
    chunk.copy(this.#scratch, filled, at, at + count);
    this.#filled = filled + count;
    return at + count;
  }
}

function frameError(what: string): FrameError {
  return new FrameError(`the peer broke the framing of AMQP: ${what}`, { replyCode: 501 });
}

function tooShort(kind: string, size: number): FrameSyntaxError {
  return new FrameSyntaxError(`the peer sent a ${kind} frame of ${size} bytes, which is too short to be one`, {
    replyCode: 502,
  });
}

function contentOnChannel0(): UnexpectedFrame {
  return new UnexpectedFrame('the peer sent content on channel 0', { replyCode: 505 });
}

/** The error for a stream that does not begin as AMQP frames do. */
function notAmqp(bytes: Buffer): IrrecoverableConnectionError {
  if (bytes.length === 8 && bytes.toString('latin1', 0, 4) === 'AMQP') {
    // 0-9-1 and 1.0 say 'AMQP', protocol id, major, minor, revision; 0-8 and 0-9 say 'AMQP', 1, 1, major, minor.
    const isOld = bytes[4] === 1 && bytes[5] === 1;
    const version = isOld ? `${bytes[6]}-${bytes[7]}` : `${bytes[5]}-${bytes[6]}-${bytes[7]}`;
    return new IrrecoverableConnectionError(`the peer refuses AMQP 0-9-1 and asks for version ${version}`, {
      code: 'NOT_SUPPORTED',
    });
  }
  const hint = bytes[0] === 0x15 || bytes[0] === 0x16 ? ' (it looks like TLS)' : '';
  return new FrameError(`the peer does not speak AMQP: it began with ${describeBytes(bytes)}${hint}`, {
    replyCode: 501,
  });
}

function describeBytes(bytes: Buffer): string {
  const text = bytes.toString('latin1');
  return /^[\x20-\x7e\r\n]+$/.test(text) ? JSON.stringify(text) : `0x${bytes.toString('hex')}`;
}
