/**
 * What reader and writer of bzip2 share. The format has no specification but its program (bzip2 1.0.8, `decompress.c`); in short:
 *
 * ```
 * 'BZh' level            level 1 to 9: blocks of at most level × 100 000 bytes after the first run-length step
 * ( 314159265359 crc  randomized:1  origin:24  used bytes  tables  symbols )*    a block
 *   177245385090 crc     the end, and a sum over the sums of the blocks
 * ```
 *
 * A block went through: runs of 4 and more bytes shortened → Burrows-Wheeler transform → move to front → runs of zeros as binary
 * numbers of the digits RUNA and RUNB → Huffman codes, one of up to six tables for each 50 symbols. Bits are stored the highest
 * first.
 */

export const BLOCK_MAGIC = 0x314159265359;
export const END_MAGIC = 0x177245385090;
/** Bytes of a block for each level. */
export const BLOCK_UNIT = 100_000;
export const RUN_A = 0;
export const RUN_B = 1;
/** Symbols that share a table. */
export const GROUP_SIZE = 50;
export const MAX_TABLES = 6;
export const MAX_CODE_LENGTH = 20;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 24;
  for (let bit = 0; bit < 8; bit++) crc = crc < 0 ? (crc << 1) ^ 0x04c11db7 : crc << 1;
  return crc >>> 0;
});

/** CRC-32 with the polynomial of all others, but the highest bit first. */
export function crc32(bytes: Uint8Array, start = 0, end = bytes.length): number {
  let crc = 0xffffffff;
  for (let i = start; i < end; i++) crc = (crc << 8) ^ (TABLE[((crc >>> 24) ^ bytes[i]!) & 0xff] as number);
  return ~crc >>> 0;
}

/** Adds the sum of a block to the sum of the stream. */
export function combineCrc(stream: number, block: number): number {
  return (((stream << 1) | (stream >>> 31)) ^ block) >>> 0;
}
