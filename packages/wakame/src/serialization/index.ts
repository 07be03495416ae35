export { type JsonOptions, jsonSerializer } from './json.js';
export { MsgpackExt } from './msgpack/index.js';
export { AcceptList, SerializerRegistry, serialization } from './registry.js';
export type { Serialized, Serializer } from './serializer.js';
