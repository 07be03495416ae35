import { checkInteger } from '../../util/check.js';

/** A MessagePack extension value of a type that has no meaning here: kept as it came, and written back as it is. */
export class MsgpackExt {
  /** -128 to 127; those below 0 are MessagePack's own. */
  readonly type: number;
  readonly data: Uint8Array;

  constructor(type: number, data: Uint8Array) {
    this.type = checkInteger('type', type, { min: -128, max: 127 });
    this.data = data;
  }
}

/** The extension type of timestamps. */
export const TIMESTAMP = -1;
