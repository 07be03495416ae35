/** The protocol, pure: bytes to events and calls to bytes. Knows no socket, no timer and no promise. */

export { ByteReader, ByteWriter } from './bytes.js';
export * from './content.js';
export * from './methods.js';
export * from './parser.js';
export * from './properties.js';
export * from './spec.js';
export * from './tables.js';
export * from './typed.js';
export * from './types.js';
export * from './writer.js';
