import { isUint8Array } from 'node:util/types';
import { InvalidCommand } from '../errors.js';
import { ByteReader, type ByteWriter, malformed } from './bytes.js';
import { checkInteger, checkString, describe, EncodeProblem, named } from './problem.js';
import { DOMAINS, METHODS, type MethodSpec, type WireType } from './spec.js';
import { readTable, writeTable } from './tables.js';
import type { DecodedMethod, MethodArguments, MethodInput, MethodName } from './types.js';

/** One field, ready for the loops below. */
interface Field {
  readonly name: string;
  readonly wire: WireType;
  readonly reserved: boolean;
}

interface Codec {
  readonly name: MethodName;
  readonly id: number;
  readonly fields: readonly Field[];
}

const CODECS = Object.entries(METHODS).map(([name, spec]: [string, MethodSpec]): Codec => {
  const fields = Object.entries(spec.fields).map(([field, domain]) => ({
    name: field,
    wire: DOMAINS[domain],
    reserved: domain.startsWith('reserved-'),
  }));
  return { name: name as MethodName, id: (spec.classId << 16) | spec.methodId, fields };
});

const BY_NAME: ReadonlyMap<string, Codec> = new Map(CODECS.map((codec) => [codec.name, codec]));
const BY_ID: ReadonlyMap<number, Codec> = new Map(CODECS.map((codec) => [codec.id, codec]));

/** `classId << 16 | methodId` of each method: what the parser tells and what a dispatcher switches on. */
export const METHOD_IDS = Object.fromEntries(CODECS.map(({ name, id }) => [name, id])) as {
  readonly [N in MethodName]: number;
};

/** The name of the method with this id (`classId << 16 | methodId`), if there is one. */
export function methodName(id: number): MethodName | undefined {
  return BY_ID.get(id)?.name;
}

/**
 * Writes a method frame's payload: class id, method id, fields. Throws InvalidArgumentError that names the field, and
 * leaves what it wrote before that to the caller's {@link ByteWriter.rollback}.
 */
export function encodeMethod<N extends MethodName>(writer: ByteWriter, name: N, args: MethodInput<N>): void {
  const { id, fields } = BY_NAME.get(name) as Codec;
  const values = args as Readonly<Record<string, unknown>>;
  writer.long(id);
  let bits = 0;
  let bitCount = 0;
  for (const field of fields) {
    const value = field.reserved ? undefined : values[field.name];
    try {
      if (field.wire === 'bit') {
        if (checkBit(value)) bits |= 1 << bitCount;
        bitCount++;
        continue;
      }
      if (bitCount > 0) {
        writer.octet(bits);
        bits = bitCount = 0;
      }
      if (field.reserved) writeZero(writer, field.wire);
      else writeField(writer, field.wire, value);
    } catch (error) {
      throw named(error, `${name}: ${field.name}`);
    }
  }
  if (bitCount > 0) writer.octet(bits);
}

function checkBit(value: unknown): boolean {
  if (value === undefined || value === false) return false;
  if (value === true) return true;
  throw new EncodeProblem(`must be true or false, not ${describe(value)}`);
}

function writeField(writer: ByteWriter, wire: WireType, value: unknown): void {
  switch (wire) {
    case 'octet':
      writer.octet(checkInteger(value, 0xff));
      return;
    case 'short':
      writer.short(checkInteger(value, 0xffff));
      return;
    case 'long':
      writer.long(checkInteger(value, 0xffff_ffff));
      return;
    case 'longlong':
      writer.longlong(checkInteger(value, Number.MAX_SAFE_INTEGER));
      return;
    case 'shortstr':
      writer.shortstr(checkString(value));
      return;
    case 'longstr':
    case 'bytes':
      // The value is not shown: it may be a password.
      if (typeof value !== 'string' && !isUint8Array(value)) throw new EncodeProblem('must be a string or bytes');
      writer.longstr(value);
      return;
    case 'table':
      if (value === undefined) writer.long(0);
      else writeTable(writer, value);
      return;
    default:
      // A bit is packed by encodeMethod, and no method has a timestamp.
      throw new TypeError(`a method field cannot be a ${wire}`);
  }
}

function writeZero(writer: ByteWriter, wire: WireType): void {
  switch (wire) {
    case 'short':
      writer.short(0);
      return;
    case 'shortstr':
      writer.octet(0);
      return;
    case 'longstr':
      writer.long(0);
      return;
    default:
      throw new TypeError(`no reserved field is a ${wire}`);
  }
}

/**
 * Decodes the fields of the method `id` (`classId << 16 | methodId`), which lie in `buffer[start, end)` behind the
 * ids. Strings and bytes are copies. Throws InvalidCommand for an id nobody knows, FrameSyntaxError for fields that
 * do not fill the space exactly.
 */
export function decodeMethod(id: number, buffer: Buffer, start: number, end: number): DecodedMethod {
  const codec = BY_ID.get(id);
  if (codec === undefined) {
    throw new InvalidCommand(`the peer sent an unknown method: class ${id >>> 16}, method ${id & 0xffff}`, {
      replyCode: 503,
      classId: id >>> 16,
      methodId: id & 0xffff,
    });
  }
  return { name: codec.name, arguments: decodeFields(codec, buffer, start, end) } as DecodedMethod;
}

/** The same where the method is known. */
export function decodeArguments<N extends MethodName>(
  name: N,
  buffer: Buffer,
  start: number,
  end: number,
): MethodArguments<N> {
  return decodeFields(BY_NAME.get(name) as Codec, buffer, start, end) as MethodArguments<N>;
}

function decodeFields(codec: Codec, buffer: Buffer, start: number, end: number): Record<string, unknown> {
  const reader = new ByteReader(buffer, start, end);
  const values: Record<string, unknown> = {};
  let bits = 0;
  let bitCount = 0;
  for (const { name, wire, reserved } of codec.fields) {
    let value: unknown;
    if (wire === 'bit') {
      if (bitCount === 0) bits = reader.octet();
      value = ((bits >>> bitCount++) & 1) === 1;
    } else {
      bitCount = 0;
      value = readField(reader, wire);
    }
    if (!reserved) values[name] = value;
  }
  finish(reader, codec.name);
  return values;
}

function readField(reader: ByteReader, wire: WireType): unknown {
  switch (wire) {
    case 'octet':
      return reader.octet();
    case 'short':
      return reader.short();
    case 'long':
      return reader.long();
    case 'longlong':
      return reader.longlong();
    case 'shortstr':
      return reader.shortstr();
    case 'longstr':
      return reader.longstr();
    case 'bytes':
      return reader.bytes();
    case 'table':
      return readTable(reader);
    default:
      throw new TypeError(`a method field cannot be a ${wire}`);
  }
}

function finish(reader: ByteReader, name: MethodName): void {
  if (reader.position !== reader.end) throw malformed(`${reader.end - reader.position} bytes too many in ${name}`);
}

// What follows decodes the methods that come with every message, without the loop over the table.

/** {@link decodeArguments} for basic.deliver. */
export function decodeDeliver(buffer: Buffer, start: number, end: number): MethodArguments<'basic.deliver'> {
  const reader = new ByteReader(buffer, start, end);
  const delivery = {
    consumerTag: reader.shortstr(),
    deliveryTag: reader.longlong(),
    redelivered: (reader.octet() & 1) === 1,
    exchange: reader.shortstr(),
    routingKey: reader.shortstr(),
  };
  finish(reader, 'basic.deliver');
  return delivery;
}

/** {@link decodeArguments} for basic.get-ok. */
export function decodeGetOk(buffer: Buffer, start: number, end: number): MethodArguments<'basic.get-ok'> {
  const reader = new ByteReader(buffer, start, end);
  const got = {
    deliveryTag: reader.longlong(),
    redelivered: (reader.octet() & 1) === 1,
    exchange: reader.shortstr(),
    routingKey: reader.shortstr(),
    messageCount: reader.long(),
  };
  finish(reader, 'basic.get-ok');
  return got;
}

/** {@link decodeArguments} for basic.return. */
export function decodeReturn(buffer: Buffer, start: number, end: number): MethodArguments<'basic.return'> {
  const reader = new ByteReader(buffer, start, end);
  const returned = {
    replyCode: reader.short(),
    replyText: reader.shortstr(),
    exchange: reader.shortstr(),
    routingKey: reader.shortstr(),
  };
  finish(reader, 'basic.return');
  return returned;
}

/** {@link decodeArguments} for basic.ack: a publisher's confirm. */
export function decodeAck(buffer: Buffer, start: number, end: number): MethodArguments<'basic.ack'> {
  const reader = new ByteReader(buffer, start, end);
  const ack = { deliveryTag: reader.longlong(), multiple: (reader.octet() & 1) === 1 };
  finish(reader, 'basic.ack');
  return ack;
}
