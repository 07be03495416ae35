/** Just enough of AMQP 0-9-1, without checks, for the null broker and the limits. Not made to be fast. */

/** An unsigned integer of so many bytes. */
export function uint(value: number, bytes: 1 | 2 | 4 | 8): Buffer {
  const buffer = Buffer.alloc(bytes);
  if (bytes === 8) buffer.writeBigUInt64BE(BigInt(value));
  else buffer.writeUIntBE(value, 0, bytes);
  return buffer;
}

export function shortstr(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([uint(bytes.length, 1), bytes]);
}

export function frame(type: number, channel: number, payload: Buffer): Buffer {
  return Buffer.concat([uint(type, 1), uint(channel, 2), uint(payload.length, 4), payload, Buffer.from([0xce])]);
}

export function headerFrame(channel: number, bodySize: number, properties: Buffer): Buffer {
  return frame(2, channel, Buffer.concat([uint(60, 2), uint(0, 2), uint(bodySize, 8), properties]));
}

export function bodyFrame(channel: number, body: Buffer): Buffer {
  return frame(3, channel, body);
}

export function method(channel: number, classId: number, methodId: number, ...fields: Buffer[]): Buffer {
  return frame(1, channel, Buffer.concat([uint(classId, 2), uint(methodId, 2), ...fields]));
}

type Value = string | number | boolean | null | readonly Value[] | { readonly [key: string]: Value };

function field(value: Value): Buffer {
  if (value === null) return Buffer.from('V');
  switch (typeof value) {
    case 'string':
      return Buffer.concat([Buffer.from('S'), uint(Buffer.byteLength(value), 4), Buffer.from(value)]);
    case 'number':
      return Buffer.concat([Buffer.from('I'), uint(value, 4)]);
    case 'boolean':
      return Buffer.from([0x74, value ? 1 : 0]);
    default: {
      if (!Array.isArray(value)) return Buffer.concat([Buffer.from('F'), table(value as Record<string, Value>)]);
      const items = Buffer.concat(value.map(field));
      return Buffer.concat([Buffer.from('A'), uint(items.length, 4), items]);
    }
  }
}

export function table(members: Readonly<Record<string, Value>>): Buffer {
  const bytes = Buffer.concat(Object.entries(members).flatMap(([key, value]) => [shortstr(key), field(value)]));
  return Buffer.concat([uint(bytes.length, 4), bytes]);
}

/** The properties that the scenarios use. */
export interface Properties {
  readonly contentType?: string;
  readonly contentEncoding?: string;
  readonly headers?: Readonly<Record<string, Value>>;
  readonly deliveryMode?: number;
  readonly priority?: number;
  readonly correlationId?: string;
  readonly replyTo?: string;
  readonly messageId?: string;
}

/** Property flags and list, as in a content header. */
export function propertiesOf(properties: Properties): Buffer {
  const { contentType, contentEncoding, headers, deliveryMode, priority, correlationId, replyTo, messageId } =
    properties;
  const list: [number, Buffer | undefined][] = [
    [0x8000, contentType === undefined ? undefined : shortstr(contentType)],
    [0x4000, contentEncoding === undefined ? undefined : shortstr(contentEncoding)],
    [0x2000, headers === undefined ? undefined : table(headers)],
    [0x1000, deliveryMode === undefined ? undefined : uint(deliveryMode, 1)],
    [0x0800, priority === undefined ? undefined : uint(priority, 1)],
    [0x0400, correlationId === undefined ? undefined : shortstr(correlationId)],
    [0x0200, replyTo === undefined ? undefined : shortstr(replyTo)],
    [0x0080, messageId === undefined ? undefined : shortstr(messageId)],
  ];
  const flags = list.reduce((sum, [flag, bytes]) => (bytes === undefined ? sum : sum | flag), 0);
  return Buffer.concat([uint(flags, 2), ...list.flatMap(([, bytes]) => bytes ?? [])]);
}
