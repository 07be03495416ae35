/** A format: turns values into bytes and back. Give it to `serialization.register`, or to `publish` itself. */
export interface Serializer {
  /** What `serializer` and `accept` call it: `json`. */
  readonly name: string;
  /** Its MIME type, which goes with each message: `application/json`. */
  readonly contentType: string;
  /** What the bytes are: `utf-8` for text, else `binary`. */
  readonly contentEncoding: string;
  /** Absent: the format is only read. What it throws becomes ENCODE_FAILED. */
  readonly encode?: ((value: unknown) => Uint8Array) | undefined;
  /**
   * Absent: the format is only written. What it throws becomes DECODE_FAILED.
   *
   * @param contentEncoding As the message has it, in lower case; `utf-8` when it has none.
   */
  readonly decode?: ((body: Uint8Array, contentEncoding: string) => unknown) | undefined;
}

/** A value as it goes into a message. */
export interface Serialized {
  readonly contentType: string;
  readonly contentEncoding: string;
  readonly body: Uint8Array;
}
