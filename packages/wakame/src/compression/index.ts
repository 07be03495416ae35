export type { Compressor } from './codecs.js';
export { type Compressed, CompressionRegistry, compression, type DecompressOptions } from './registry.js';
