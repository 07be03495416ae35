import { isUint8Array } from 'node:util/types';
import { InvalidArgumentError } from '../errors.js';
import { ByteWriter, SLAB_SIZE, utf8Bytes } from './bytes.js';
import { Lanes, referenceBodyFrame } from './lanes.js';
import { encodeMethod, METHOD_IDS } from './methods.js';
import { checkString, describe, named } from './problem.js';
import { encodeProperties } from './properties.js';
import {
  BASIC_CLASS_ID,
  DEFAULT_FRAME_MAX,
  FRAME_BODY,
  FRAME_END,
  FRAME_HEADER,
  FRAME_HEADER_SIZE,
  FRAME_HEARTBEAT,
  FRAME_METHOD,
  FRAME_MIN_SIZE,
  FRAME_OVERHEAD,
  PROTOCOL_HEADER,
  UNLIMITED_FRAME_MAX,
} from './spec.js';
import { PublishTemplates } from './templates.js';
import type { BasicProperties, ContentMethodName, MethodInput, MethodName } from './types.js';

/** Bodies from this size on are referenced; smaller ones are copied into the slab. */
const REFERENCE_FROM = 16_384;
/** Bodies longer than this take turns with those of other channels. */
const TURNS_FROM = 131_072;
/** What one {@link OutboundBuffer.take} hands out of long bodies, about. */
const TAKE_BYTES = 262_144;
/** The UTF-8 of a string of this length fits into one frame of any size. */
const SHORT_TEXT = 1024;

const NO_PROPERTIES: BasicProperties = {};
const ACK = METHOD_IDS['basic.ack'];
const NACK = METHOD_IDS['basic.nack'];
const REJECT = METHOD_IDS['basic.reject'];
const PUBLISH = METHOD_IDS['basic.publish'];

/** What an {@link OutboundBuffer} tells its owner. */
export interface OutboundBufferOptions {
  /** The buffer was empty and is no more: see to it that it is taken, once per tick. */
  readonly onPending: () => void;
  /**
   * 64 KiB or more wait; called after every frame while that is so, never in the middle of one. Taking at once, if
   * the socket is not behind, keeps the memory of a long synchronous loop of publishes small.
   */
  readonly onFull?: (() => void) | undefined;
  /** As for {@link OutboundBuffer.setFrameMax}. Default 131072. */
  readonly frameMax?: number | undefined;
}

/**
 * Everything that waits to be written to one connection, as bytes. Frames are encoded in place, into one slab, so
 * that many of them leave by one system call; long bodies are referenced and take turns (see {@link Lanes}).
 *
 * A call either buffers all of its frames or throws InvalidArgumentError (code INVALID_ARGUMENT, or MESSAGE_TOO_LARGE
 * when a method or the properties do not fit into one frame) and leaves the buffer as it was.
 *
 * **Bodies of 16 KiB and more are not copied**: they must not change until they are written.
 */
export class OutboundBuffer {
  readonly #writer = new ByteWriter();
  readonly #lanes = new Lanes();
  readonly #templates = new PublishTemplates();
  readonly #onPending: () => void;
  readonly #onFull: (() => void) | undefined;
  /** Longest payload of a method or header frame. */
  #payloadMax = 0;
  /**
   * Longest payload of a body frame: no longer than 128 KiB even where the peer would take more, for the turns' sake.
   */
  #share = 0;
  /** Bytes in the writer. */
  #ready = 0;

  constructor(options: OutboundBufferOptions) {
    this.#onPending = options.onPending;
    this.#onFull = options.onFull;
    this.setFrameMax(options.frameMax ?? DEFAULT_FRAME_MAX);
  }

  /**
   * The agreed `frame_max`: at least 4096, or 0 where none was agreed. It applies to what is buffered from now on.
   */
  setFrameMax(frameMax: number): void {
    if (!Number.isInteger(frameMax) || (frameMax !== 0 && frameMax < FRAME_MIN_SIZE) || frameMax > 0xffff_ffff) {
      throw new InvalidArgumentError(`frameMax must be 0 or at least ${FRAME_MIN_SIZE}, not ${describe(frameMax)}`);
    }
    this.#payloadMax = Math.min(frameMax || UNLIMITED_FRAME_MAX, UNLIMITED_FRAME_MAX) - FRAME_OVERHEAD;
    this.#share = Math.min(frameMax || DEFAULT_FRAME_MAX, DEFAULT_FRAME_MAX) - FRAME_OVERHEAD;
    // A unit is at most a method frame, a header frame and a copied body.
    this.#writer.unitLimit = 2 * (this.#payloadMax + FRAME_OVERHEAD) + SLAB_SIZE;
  }

  /** Bytes that wait, the frames' overhead and all of the long bodies included. */
  get byteLength(): number {
    return this.#ready + this.#lanes.bytes;
  }

  /** `AMQP 0-9-1`, which a client sends first. */
  protocolHeader(): void {
    this.#writer.begin();
    this.#writer.raw(PROTOCOL_HEADER);
    this.#commit(0);
  }

  heartbeat(): void {
    this.#writer.begin();
    this.#closeFrame(this.#openFrame(FRAME_HEARTBEAT, 0), 'a heartbeat');
    this.#commit(0);
  }

  /** A method without content. */
  method<N extends MethodName>(channel: number, name: N, args: MethodInput<N>): void {
    const writer = this.#writer;
    writer.begin();
    try {
      const at = this.#openFrame(FRAME_METHOD, channel);
      encodeMethod(writer, name, args);
      this.#closeFrame(at, name);
    } catch (error) {
      writer.rollback();
      throw error;
    }
    this.#commit(channel);
  }

  /** A method with content. A string body is sent as UTF-8. For basic.publish, {@link publish} is faster. */
  content<N extends ContentMethodName>(
    channel: number,
    name: N,
    args: MethodInput<N>,
    properties: BasicProperties | undefined,
    body: Uint8Array | string,
  ): void {
    const writer = this.#writer;
    let rest: Uint8Array | undefined;
    writer.begin();
    try {
      const at = this.#openFrame(FRAME_METHOD, channel);
      encodeMethod(writer, name, args);
      this.#closeFrame(at, name);
      this.#openContentHeader(channel);
      rest = this.#content(channel, properties, body);
    } catch (error) {
      writer.rollback();
      throw error;
    }
    this.#commit(channel, rest);
  }

  /** basic.publish. A string body is sent as UTF-8. */
  publish(
    channel: number,
    exchange: string,
    routingKey: string,
    mandatory: boolean,
    properties: BasicProperties | undefined,
    body: Uint8Array | string,
  ): void {
    const writer = this.#writer;
    let rest: Uint8Array | undefined;
    writer.begin();
    try {
      this.#openPublish(channel, exchange, routingKey, mandatory ? 1 : 0);
      rest = this.#content(channel, properties, body);
    } catch (error) {
      writer.rollback();
      throw error;
    }
    this.#commit(channel, rest);
  }

  /** basic.ack */
  ack(channel: number, deliveryTag: number, multiple: boolean): void {
    this.#settle(channel, ACK, deliveryTag, multiple ? 1 : 0);
  }

  /** basic.nack (RabbitMQ) */
  nack(channel: number, deliveryTag: number, multiple: boolean, requeue: boolean): void {
    this.#settle(channel, NACK, deliveryTag, (multiple ? 1 : 0) | (requeue ? 2 : 0));
  }

  /** basic.reject */
  reject(channel: number, deliveryTag: number, requeue: boolean): void {
    this.#settle(channel, REJECT, deliveryTag, requeue ? 1 : 0);
  }

  /**
   * Forgets what waits on a channel behind a long body. Only right when channel.close-ok is the next frame on the
   * channel: a peer that closed it reads over everything before that. The rest of the body itself still goes out:
   * RabbitMQ, for all that it drops it, closes the connection (505) when a content is not complete before close-ok.
   */
  dropChannel(channel: number): void {
    this.#lanes.drop(channel);
  }

  /**
   * Forgets all long bodies, also those that have begun, and what waits behind them. Only right when nothing follows
   * but connection.close or connection.close-ok.
   */
  dropBodies(): void {
    this.#lanes.clear();
  }

  /**
   * The chunks to write next, in order; together one `writev`. Everything short comes at once and first. Of long
   * bodies as many frames come, in turns, as fill about `budget` bytes: while the socket works on those, what is
   * buffered meanwhile overtakes the rest. So write the chunks, wait until the socket is done with them, and take
   * again while {@link byteLength} is not 0.
   */
  take(budget: number = TAKE_BYTES): Uint8Array[] {
    this.#lanes.emit(this.#writer, Math.max(budget - this.#ready, 1));
    this.#ready = 0;
    return this.#writer.take();
  }

  /** The buffers whose last bytes are among the chunks last {@link take}n: for {@link reuse}, when those are written. */
  get spent(): readonly Buffer[] {
    return this.#writer.spent;
  }

  /** These are written, and may be filled again. */
  reuse(buffers: readonly Buffer[]): void {
    this.#writer.reuse(buffers);
  }

  /** All that was ever taken is written. */
  rewind(): void {
    this.#writer.rewind();
  }

  #settle(channel: number, id: number, deliveryTag: number, bits: number): void {
    if (!Number.isSafeInteger(deliveryTag) || deliveryTag < 0) {
      throw new InvalidArgumentError(`deliveryTag must be an integer of at least 0, not ${describe(deliveryTag)}`);
    }
    const writer = this.#writer;
    writer.begin();
    const at = this.#openFrame(FRAME_METHOD, channel);
    writer.long(id);
    writer.longlong(deliveryTag);
    writer.octet(bits);
    this.#closeFrame(at, 'a settlement');
    this.#commit(channel);
  }

  /** The method frame of a publish, and its header frame up to the body size. */
  #openPublish(channel: number, exchange: string, routingKey: string, flags: number): void {
    const writer = this.#writer;
    const template =
      typeof exchange === 'string' && typeof routingKey === 'string'
        ? this.#templates.find(exchange, routingKey, flags)
        : undefined;
    if (template !== undefined) {
      writer.raw(template);
      writer.patchShort(1, channel);
      writer.patchShort(template.length - CONTENT_HEADER_PREFIX + 1, channel);
      return;
    }
    const at = this.#openFrame(FRAME_METHOD, channel);
    encodePublish(writer, exchange, routingKey, flags);
    this.#closeFrame(at, 'basic.publish');
    this.#openContentHeader(channel);
    this.#templates.missed(exchange, routingKey, flags, writer.buffer, writer.mark, writer.position);
  }

  #openContentHeader(channel: number): void {
    this.#openFrame(FRAME_HEADER, channel);
    this.#writer.short(BASIC_CLASS_ID);
    // The weight, always 0.
    this.#writer.short(0);
  }

  /** What follows of a header frame behind its prefix, and the body unless it is long: that is returned instead. */
  #content(
    channel: number,
    properties: BasicProperties | undefined,
    body: Uint8Array | string,
  ): Uint8Array | undefined {
    const writer = this.#writer;
    const isText = typeof body === 'string';
    if (!isText && !isUint8Array(body)) {
      throw new InvalidArgumentError(`body must be a string or bytes, not ${describe(body)}`);
    }
    const headerAt = writer.unitLength - CONTENT_HEADER_PREFIX;
    const sizeAt = writer.unitLength;
    const bytes = isText ? this.#longText(body) : body;
    writer.longlong(bytes === undefined ? 0 : bytes.length);
    encodeProperties(writer, properties ?? NO_PROPERTIES);
    this.#closeFrame(headerAt, 'the header with the properties');
    if (bytes === undefined) {
      writer.patchLong(sizeAt + 4, this.#textFrame(channel, body as string));
      return undefined;
    }
    if (bytes.length >= REFERENCE_FROM) return bytes;
    this.#copyBody(channel, bytes);
    return undefined;
  }

  /** The bytes of a text that needs more than one frame or is long enough to be referenced. */
  #longText(text: string): Uint8Array | undefined {
    if (text.length <= SHORT_TEXT) return undefined;
    const size = Buffer.byteLength(text);
    if (size <= this.#share && size < REFERENCE_FROM) return undefined;
    try {
      return utf8Bytes(text);
    } catch (error) {
      throw named(error, 'body');
    }
  }

  /** A short text as a body frame (none when it is empty); returns its length in bytes. */
  #textFrame(channel: number, text: string): number {
    if (text === '') return 0;
    const writer = this.#writer;
    const at = this.#openFrame(FRAME_BODY, channel);
    try {
      writer.utf8(text);
    } catch (error) {
      throw named(error, 'body');
    }
    return this.#closeFrame(at, 'the body');
  }

  #copyBody(channel: number, body: Uint8Array): void {
    const share = this.#share;
    if (body.length <= share) {
      if (body.length > 0) this.#bodyFrame(channel, body);
      return;
    }
    for (let at = 0; at < body.length; at += share) this.#bodyFrame(channel, body.subarray(at, at + share));
  }

  #bodyFrame(channel: number, payload: Uint8Array): void {
    const at = this.#openFrame(FRAME_BODY, channel);
    this.#writer.raw(payload);
    this.#closeFrame(at, 'the body');
  }

  /** Writes a frame header whose size is not known yet; returns where it stands in the open unit. */
  #openFrame(type: number, channel: number): number {
    const writer = this.#writer;
    const at = writer.unitLength;
    writer.octet(type);
    writer.short(channel);
    writer.long(0);
    return at;
  }

  /** Writes the end octet and the size; returns the latter. */
  #closeFrame(at: number, what: string): number {
    const writer = this.#writer;
    const size = writer.unitLength - at - FRAME_HEADER_SIZE;
    if (size > this.#payloadMax) {
      throw new InvalidArgumentError(
        `${what} needs ${size} bytes, and a frame of this connection holds at most ${this.#payloadMax}`,
        { code: 'MESSAGE_TOO_LARGE' },
      );
    }
    writer.patchLong(at + 3, size);
    writer.octet(FRAME_END);
    return size;
  }

  /** The open unit is complete: it counts, and `rest` is a body to follow it. Nothing in here can fail. */
  #commit(channel: number, rest?: Uint8Array): void {
    const wasEmpty = this.byteLength === 0;
    const writer = this.#writer;
    const waits = this.#lanes.has(channel);
    if (waits) {
      this.#lanes.append(channel, writer.buffer.subarray(writer.mark, writer.position));
      writer.rollback();
    } else {
      this.#ready += writer.unitLength;
    }
    if (rest !== undefined) {
      if (waits || rest.length > TURNS_FROM) this.#lanes.transfer(channel, rest, this.#share);
      else this.#referenceBody(channel, rest);
    }
    if (wasEmpty) this.#onPending();
    if (this.#onFull !== undefined && this.byteLength >= SLAB_SIZE) this.#onFull();
  }

  #referenceBody(channel: number, body: Uint8Array): void {
    for (let at = 0; at < body.length; at += this.#share) {
      this.#ready += referenceBodyFrame(this.#writer, channel, body.subarray(at, at + this.#share));
    }
  }
}

/** Frame header, class id and weight: what a content header frame has before the body size. */
const CONTENT_HEADER_PREFIX = FRAME_HEADER_SIZE + 4;

/** {@link encodeMethod} for basic.publish, without the loop over the table. */
function encodePublish(writer: ByteWriter, exchange: string, routingKey: string, flags: number): void {
  writer.long(PUBLISH);
  // The ticket, a reserved field.
  writer.short(0);
  try {
    writer.shortstr(checkString(exchange));
  } catch (error) {
    throw named(error, 'exchange');
  }
  try {
    writer.shortstr(checkString(routingKey));
  } catch (error) {
    throw named(error, 'routingKey');
  }
  writer.octet(flags);
}
