import { Decimal, PyDate, PyDateTime, PyTime, Uuid } from '../../src/transports/virtual/wire/index.js';

/** A value of any format as plain JSON that loses nothing, as `canonical` of `make.py`. Members are sorted. */
export function canonical(value: unknown): unknown {
  if (value === null || typeof value === 'boolean') return value;
  if (typeof value === 'bigint') return { number: String(value) };
  if (typeof value === 'number') {
    const isShort = Number.isInteger(value) && Math.abs(value) < 1e21;
    return { number: isShort ? String(BigInt(value)) : String(value) };
  }
  if (typeof value === 'string') return { text: value };
  if (value instanceof Uint8Array) return { bytes: Buffer.from(value).toString('hex') };
  if (value instanceof PyDateTime) return { datetime: value.isoformat() };
  if (value instanceof PyDate) return { date: String(value) };
  if (value instanceof PyTime) return { time: String(value) };
  if (value instanceof Decimal) return { decimal: value.toString() };
  if (value instanceof Uuid) return { uuid: value.hex };
  if (Array.isArray(value)) return value.map(canonical);
  if (Object.getPrototypeOf(value) !== Object.prototype) throw new Error(`no canonical form of ${String(value)}`);
  return { object: sorted(Object.entries(value as object).map(([key, member]) => [key, canonical(member)])) };
}

/** The same for what `make.py` wrote: its numbers in JavaScript's spelling, its members sorted. */
export function normalized(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(normalized);
  if (typeof value !== 'object' || value === null) return value;
  const { number, object } = value as { number?: string; object?: [string, unknown][] };
  if (number !== undefined) return { number: /^-?\d+$/.test(number) ? number : String(Number(number)) };
  if (object !== undefined)
    return { object: sorted(object.map(([key, member]) => [pythonKey(key), normalized(member)])) };
  return value;
}

/** Python's `str` of keys that are not text, as JSON and YAML have them. */
function pythonKey(key: string): string {
  return { None: 'null', True: 'true', False: 'false' }[key] ?? key;
}

function sorted(members: [string, unknown][]): [string, unknown][] {
  return members.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}
