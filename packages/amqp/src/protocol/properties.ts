import { isDate } from 'node:util/types';
import { FrameSyntaxError, InvalidArgumentError } from '../errors.js';
import { ByteReader, type ByteWriter, malformed } from './bytes.js';
import { checkInteger, checkString, describe, EncodeProblem, named } from './problem.js';
import { BASIC_PROPERTIES, type WireType } from './spec.js';
import { hasMember, type ReceivedTable, readTable, writeTable } from './tables.js';
import type { BasicProperties, ReceivedProperties } from './types.js';

type PropertyName = keyof typeof BASIC_PROPERTIES;

/**
 * Writes property flags and properties as a content header has them (0-9-1 section 4.2.6.1). Throws
 * InvalidArgumentError that names the property. What was received is written again byte for byte.
 */
export function encodeProperties(writer: ByteWriter, properties: BasicProperties): void {
  if (properties instanceof DecodedProperties) {
    writer.raw(properties.bytes);
    return;
  }
  if (typeof properties !== 'object' || properties === null) {
    throw new InvalidArgumentError(`properties must be an object, not ${describe(properties)}`);
  }
  const flagsAt = writer.unitLength;
  writer.short(0);
  let flags = 0;
  let name: PropertyName = 'contentType';
  // In wire order. Written out because a loop over names would look up each of them in the object anew.
  try {
    const { contentType, contentEncoding, headers, deliveryMode, priority, correlationId, replyTo } = properties;
    if (contentType !== undefined) {
      flags |= 0x8000;
      writer.shortstr(checkString(contentType));
    }
    if (contentEncoding !== undefined) {
      name = 'contentEncoding';
      flags |= 0x4000;
      writer.shortstr(checkString(contentEncoding));
    }
    if (headers !== undefined) {
      name = 'headers';
      flags |= 0x2000;
      writeTable(writer, headers);
    }
    if (deliveryMode !== undefined) {
      name = 'deliveryMode';
      flags |= 0x1000;
      writer.octet(checkInteger(deliveryMode, 255));
    }
    if (priority !== undefined) {
      name = 'priority';
      flags |= 0x0800;
      writer.octet(checkInteger(priority, 255));
    }
    if (correlationId !== undefined) {
      name = 'correlationId';
      flags |= 0x0400;
      writer.shortstr(checkString(correlationId));
    }
    if (replyTo !== undefined) {
      name = 'replyTo';
      flags |= 0x0200;
      writer.shortstr(checkString(replyTo));
    }
    const { expiration, messageId, timestamp, type, userId, appId, clusterId } = properties;
    if (expiration !== undefined) {
      name = 'expiration';
      flags |= 0x0100;
      writer.shortstr(checkString(expiration));
    }
    if (messageId !== undefined) {
      name = 'messageId';
      flags |= 0x0080;
      writer.shortstr(checkString(messageId));
    }
    if (timestamp !== undefined) {
      name = 'timestamp';
      flags |= 0x0040;
      writeTimestamp(writer, timestamp);
    }
    if (type !== undefined) {
      name = 'type';
      flags |= 0x0020;
      writer.shortstr(checkString(type));
    }
    if (userId !== undefined) {
      name = 'userId';
      flags |= 0x0010;
      writer.shortstr(checkString(userId));
    }
    if (appId !== undefined) {
      name = 'appId';
      flags |= 0x0008;
      writer.shortstr(checkString(appId));
    }
    if (clusterId !== undefined) {
      name = 'clusterId';
      flags |= 0x0004;
      writer.shortstr(checkString(clusterId));
    }
  } catch (error) {
    throw named(error, name);
  }
  writer.patchShort(flagsAt, flags);
}

function writeTimestamp(writer: ByteWriter, value: unknown): void {
  const seconds = isDate(value) ? Math.floor(value.getTime() / 1000) : value;
  if (typeof seconds === 'bigint' && BigInt.asUintN(64, seconds) === seconds) {
    writer.bigint(seconds);
  } else if (Number.isSafeInteger(seconds) && (seconds as number) >= 0) {
    writer.longlong(seconds as number);
  } else {
    throw new EncodeProblem(`must be whole seconds since 1970 or a Date not before that, not ${describe(value)}`);
  }
}

const NAMES = Object.keys(BASIC_PROPERTIES) as PropertyName[];
const TYPES: readonly WireType[] = Object.values(BASIC_PROPERTIES);
/** Flag bits that no property of the basic class has. */
const UNKNOWN_FLAGS = 0x0003;

/**
 * The properties of a received message, each decoded when it is asked for (`headers` once, the same object ever
 * after).
 *
 * A getter throws FrameSyntaxError with code DECODE_FAILED when the bytes before or in its property are malformed, or
 * when the headers break a bound of ours (nesting): the message is unreadable, and the connection none the worse for
 * it.
 *
 * Spreading an instance copies nothing, because its properties are getters: use {@link toObject}. To send the
 * properties on unchanged, hand over the instance itself.
 */
export class DecodedProperties {
  /** Property flags and list as received. Nobody else may change them. */
  readonly bytes: Buffer;
  readonly #flags: number;
  #headers: ReceivedTable | undefined;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
    this.#flags = bytes.length < 2 ? UNKNOWN_FLAGS : ((bytes[0] as number) << 8) | (bytes[1] as number);
  }

  /** MIME type of the body. */
  get contentType(): string | undefined {
    return this.#read(0) as string | undefined;
  }

  /** Charset, or how the body is encoded. */
  get contentEncoding(): string | undefined {
    return this.#read(1) as string | undefined;
  }

  /** What the application, and the broker, say beside the body. */
  get headers(): ReceivedTable | undefined {
    this.#headers ??= this.#read(2) as ReceivedTable | undefined;
    return this.#headers;
  }

  /**
   * Whether the headers have a field of that name. Decodes nothing, and throws where {@link headers} would: a cheap question
   * before headers that are seldom needed are read.
   *
   * @param name In ASCII.
   */
  hasHeader(name: string): boolean {
    if (this.#headers !== undefined) return Object.hasOwn(this.#headers, name);
    return this.#at(2, (reader) => hasMember(reader, name)) ?? false;
  }

  /** 1: transient; 2: persistent. */
  get deliveryMode(): number | undefined {
    return this.#read(3) as number | undefined;
  }

  /** 0 to 255; higher is sooner. */
  get priority(): number | undefined {
    return this.#read(4) as number | undefined;
  }

  /** What this message is the answer to, or is to be answered with. */
  get correlationId(): string | undefined {
    return this.#read(5) as string | undefined;
  }

  /** The queue that an answer goes to. */
  get replyTo(): string | undefined {
    return this.#read(6) as string | undefined;
  }

  /** Milliseconds to live, as text. */
  get expiration(): string | undefined {
    return this.#read(7) as string | undefined;
  }

  /** Given by the publisher. */
  get messageId(): string | undefined {
    return this.#read(8) as string | undefined;
  }

  /** Seconds since 1970. */
  get timestamp(): number | bigint | undefined {
    return this.#read(9) as number | bigint | undefined;
  }

  /** Given by the publisher. */
  get type(): string | undefined {
    return this.#read(10) as string | undefined;
  }

  /** The publisher; the broker has checked it. */
  get userId(): string | undefined {
    return this.#read(11) as string | undefined;
  }

  /** Given by the publisher. */
  get appId(): string | undefined {
    return this.#read(12) as string | undefined;
  }

  /** Deprecated by AMQP. */
  get clusterId(): string | undefined {
    return this.#read(13) as string | undefined;
  }

  /** All properties that the message has, decoded. Throws as the getters do. */
  toObject(): ReceivedProperties {
    const properties: Record<string, unknown> = {};
    for (const name of NAMES) {
      const value = this[name];
      if (value !== undefined) properties[name] = value;
    }
    return properties as ReceivedProperties;
  }

  /** The same as `toObject`, for JSON.stringify. */
  toJSON(): ReceivedProperties {
    return this.toObject();
  }

  [Symbol.for('nodejs.util.inspect.custom')](): unknown {
    try {
      return this.toObject();
    } catch (error) {
      return `DecodedProperties [${(error as Error).message}]`;
    }
  }

  #read(index: number): unknown {
    return this.#at(index, readProperty);
  }

  /** Reads property number `index`, moving over those before it; undefined when the message has it not. */
  #at<T>(index: number, read: (reader: ByteReader, type: WireType) => T): T | undefined {
    const flags = this.#flags;
    try {
      if ((flags & UNKNOWN_FLAGS) !== 0) throw malformed('property flags that the basic class does not have');
      if ((flags & (0x8000 >>> index)) === 0) return undefined;
      const reader = new ByteReader(this.bytes, 2, this.bytes.length);
      for (let before = 0; before < index; before++) {
        if ((flags & (0x8000 >>> before)) !== 0) skipProperty(reader, TYPES[before] as WireType);
      }
      return read(reader, TYPES[index] as WireType);
    } catch (error) {
      if (!(error instanceof FrameSyntaxError)) throw error;
      throw new FrameSyntaxError(`the message's properties cannot be decoded: ${error.message}`, {
        code: 'DECODE_FAILED',
        cause: error,
      });
    }
  }
}

function skipProperty(reader: ByteReader, type: WireType): void {
  switch (type) {
    case 'shortstr':
      reader.skip(reader.octet());
      return;
    case 'table':
      reader.skip(reader.long());
      return;
    case 'octet':
      reader.skip(1);
      return;
    default:
      reader.skip(8);
  }
}

function readProperty(reader: ByteReader, type: WireType): unknown {
  switch (type) {
    case 'shortstr':
      return reader.shortstr();
    case 'table':
      return readTable(reader);
    case 'octet':
      return reader.octet();
    default:
      return reader.uint64();
  }
}
