import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';

/** The CRC-64 of .xz (ECMA-182, the lowest bit first), as two halves of 32 bits for each byte. */
const TABLE = Array.from({ length: 256 }, (_, byte) => {
  let high = 0;
  let low = byte;
  for (let i = 0; i < 8; i++) {
    const carry = low & 1;
    low = ((low >>> 1) | (high << 31)) >>> 0;
    high >>>= 1;
    if (carry === 1) {
      low = (low ^ 0xd7870f42) >>> 0;
      high = (high ^ 0xc96c5795) >>> 0;
    }
  }
  return [high, low] as const;
});
const HIGH = Uint32Array.from(TABLE, ([high]) => high);
const LOW = Uint32Array.from(TABLE, ([, low]) => low);

function crc64(bytes: Uint8Array): Buffer {
  let high = 0xffffffff;
  let low = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) {
    const index = (low ^ bytes[i]!) & 0xff;
    low = ((low >>> 8) | (high << 24)) ^ LOW[index]!;
    high = (high >>> 8) ^ HIGH[index]!;
  }
  const result = Buffer.alloc(8);
  result.writeInt32LE(~low, 0);
  result.writeInt32LE(~high, 4);
  return result;
}

/** CRC-32 as .xz stores it. */
export function crc32Bytes(bytes: Uint8Array): Buffer {
  const result = Buffer.alloc(4);
  result.writeUInt32LE(crc32(bytes));
  return result;
}

/** The kinds of check that follow a block. */
export const CRC32_CHECK = 1;

/** The check of a block; `undefined` for a kind nobody uses. */
export function checkOf(kind: number, bytes: Uint8Array): Uint8Array | undefined {
  if (kind === 0) return new Uint8Array(0);
  if (kind === CRC32_CHECK) return crc32Bytes(bytes);
  if (kind === 4) return crc64(bytes);
  return kind === 10 ? createHash('sha256').update(bytes).digest() : undefined;
}
