import { isUtf8 } from 'node:buffer';

/** The same bytes as a Buffer, not copied. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * The text of UTF-8 bytes; `undefined` when they are not UTF-8. (`Buffer#toString` alone would put U+FFFD in the place of what
 * it cannot read.)
 */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  const text = asBuffer(bytes).toString('utf8');
  // Only where that stands need the bytes be looked at: it may be theirs.
  return text.includes('\ufffd') && !isUtf8(bytes) ? undefined : text;
}
