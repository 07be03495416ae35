import type { Serializer } from '../serializer.js';
import { decodeMsgpack } from './decode.js';
import { encodeMsgpack } from './encode.js';

export { MsgpackExt } from './ext.js';

/** MessagePack as Kombu has it (msgpack-python with `use_bin_type=True`, `raw=False`). */
export const msgpackSerializer: Serializer = {
  name: 'msgpack',
  contentType: 'application/x-msgpack',
  contentEncoding: 'binary',
  encode: encodeMsgpack,
  decode: (body) => decodeMsgpack(body),
};
