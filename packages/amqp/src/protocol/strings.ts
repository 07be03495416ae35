/**
 * Short strings of the receiving path. A consumer sees the same exchange, routing key, consumer tag and header keys
 * in every message: comparing their bytes with those seen before costs less than making a new string.
 */

const SLOTS = 512;
const WIDTH = 64;

// One string per slot, replaced by the next one that falls into it: the memory is bounded, to some 50 KiB.
const bytes = new Uint8Array(SLOTS * WIDTH);
const lengths = new Uint8Array(SLOTS);
const strings: string[] = new Array<string>(SLOTS).fill('');

/** The UTF-8 text in `buffer[start, end)`. Bytes that are not UTF-8 become U+FFFD. */
export function readShortString(buffer: Buffer, start: number, end: number): string {
  const length = end - start;
  if (length === 0) return '';
  if (length > WIDTH) return buffer.toString('utf8', start, end);
  const first = buffer[start] as number;
  const middle = buffer[start + (length >> 1)] as number;
  const last = buffer[end - 1] as number;
  const slot = (length * 37 + first * 5 + middle * 11 + last * 71) & (SLOTS - 1);
  const base = slot * WIDTH;
  let i = 0;
  if (lengths[slot] === length) while (i < length && bytes[base + i] === buffer[start + i]) i++;
  if (i === length) return strings[slot] as string;

  const text = buffer.toString('utf8', start, end);
  for (i = 0; i < length; i++) bytes[base + i] = buffer[start + i] as number;
  lengths[slot] = length;
  strings[slot] = text;
  return text;
}
