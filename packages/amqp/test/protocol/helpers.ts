import fc from 'fast-check';
import {
  DecodedProperties,
  type FieldTable,
  type FieldValue,
  type FrameHandler,
  type MethodName,
} from '../../src/protocol/index.js';
import { DOMAINS, METHODS, type MethodSpec, type WireType } from '../../src/protocol/spec.js';

/** Well-formed text of any script. */
export const text = (maxLength?: number) =>
  fc.string({ unit: 'grapheme', ...(maxLength === undefined ? {} : { maxLength }) });

/** Text that a short string holds. */
export const shortText = text(60).filter((value) => Buffer.byteLength(value) <= 255);

const scalar: fc.Arbitrary<FieldValue> = fc.oneof(
  text(),
  fc.integer(),
  fc.maxSafeInteger(),
  fc.double({ noDefaultInfinity: true, noNaN: true }),
  fc.boolean(),
  fc.constant(null),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.date({ min: new Date(0), noInvalidDate: true }),
  fc.uint8Array({ maxLength: 40 }),
);

/** Tables with everything that can be written without a wrapper, nested. */
export const fieldTable: fc.Arbitrary<FieldTable> = fc.letrec<{ table: FieldTable; value: FieldValue }>((tie) => ({
  table: fc.dictionary(shortText, tie('value'), { maxKeys: 8, depthIdentifier: 'table' }),
  value: fc.oneof(
    { depthIdentifier: 'table', maxDepth: 4 },
    scalar,
    fc.array(tie('value'), { maxLength: 5, depthIdentifier: 'table' }),
    tie('table'),
  ),
})).table;

/** What a peer of ours reads where `value` was written. */
export function asReceived(value: FieldValue): unknown {
  if (typeof value === 'bigint') {
    return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
  }
  if (value === undefined) return null;
  if (value instanceof Date) return new Date(Math.floor(value.getTime() / 1000) * 1000);
  if (value instanceof Uint8Array) {
    const decoded = Buffer.from(value).toString('utf8');
    return Buffer.from(decoded).equals(value) ? decoded : Buffer.from(value);
  }
  if (Array.isArray(value)) return value.map(asReceived);
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value as FieldTable).filter(([, member]) => member !== undefined);
    return Object.fromEntries(members.map(([key, member]) => [key, asReceived(member)]));
  }
  return value;
}

const wire: Record<WireType, fc.Arbitrary<unknown>> = {
  bit: fc.boolean(),
  octet: fc.nat(0xff),
  short: fc.nat(0xffff),
  long: fc.nat(0xffff_ffff),
  longlong: fc.maxSafeNat(),
  shortstr: shortText,
  longstr: text(),
  bytes: fc.uint8Array({ maxLength: 50 }).map((bytes) => Buffer.from(bytes)),
  timestamp: fc.maxSafeNat(),
  table: fieldTable,
};

/** Complete arguments of a method, reserved fields left out. */
export function methodArguments(name: MethodName): fc.Arbitrary<Record<string, unknown>> {
  const { fields }: MethodSpec = METHODS[name];
  const visible = Object.entries(fields).filter(([, domain]) => !domain.startsWith('reserved-'));
  return fc.record(Object.fromEntries(visible.map(([field, domain]) => [field, wire[DOMAINS[domain]]])));
}

export const methodNames = Object.keys(METHODS) as MethodName[];

/** Records what a parser tells, pieces of a body joined, so that two recordings can be compared. */
export class Recorder implements FrameHandler {
  readonly events: string[] = [];
  readonly #bodies = new Map<number, number>();

  onMethod(channel: number, id: number, buffer: Buffer, start: number, end: number): void {
    this.#bodies.delete(channel);
    this.events.push(`method ${channel} ${id.toString(16)} ${buffer.toString('hex', start, end)}`);
  }

  onContentHeader(
    channel: number,
    classId: number,
    bodySize: number,
    buffer: Buffer,
    start: number,
    end: number,
  ): void {
    this.#bodies.delete(channel);
    this.events.push(`header ${channel} ${classId} ${bodySize} ${buffer.toString('hex', start, end)}`);
  }

  onBody(channel: number, buffer: Buffer, start: number, end: number): void {
    const piece = buffer.toString('hex', start, end);
    const at = this.#bodies.get(channel);
    if (at === undefined) {
      this.#bodies.set(channel, this.events.length);
      this.events.push(`body ${channel} ${piece}`);
    } else {
      this.events[at] += piece;
    }
  }

  onHeartbeat(): void {
    this.events.push('heartbeat');
  }
}

/** A frame, made by hand. */
export function frame(type: number, channel: number, payload: Uint8Array | string, end = 0xce): Buffer {
  const bytes = typeof payload === 'string' ? Buffer.from(payload, 'hex') : payload;
  const head = Buffer.alloc(7);
  head[0] = type;
  head.writeUInt16BE(channel, 1);
  head.writeUInt32BE(bytes.length, 3);
  return Buffer.concat([head, bytes, Buffer.of(end)]);
}

/** Properties over bytes given in hexadecimal. */
export function propertiesOf(hex: string): DecodedProperties {
  return new DecodedProperties(Buffer.from(hex, 'hex'));
}
