/** Types that follow from the protocol's table. */

import type { BASIC_PROPERTIES, DOMAINS, METHODS } from './spec.js';
import type { FieldTable, ReceivedTable } from './tables.js';

/** `'queue.declare'`, `'queue.declare-ok'`, … */
export type MethodName = keyof typeof METHODS;

type Methods = typeof METHODS;
type Fields<N extends MethodName> = Methods[N]['fields'];
type WireOf<D> = D extends keyof typeof DOMAINS ? (typeof DOMAINS)[D] : never;
type Visible<F, K extends keyof F> = F[K] extends `reserved-${string}` ? never : K;

interface Received {
  bit: boolean;
  octet: number;
  short: number;
  long: number;
  /** Tags and counts; a value beyond 2^53 is refused as malformed. */
  longlong: number;
  shortstr: string;
  longstr: string;
  bytes: Buffer;
  timestamp: number | bigint;
  table: ReceivedTable;
}

interface Sent {
  bit: boolean;
  octet: number;
  short: number;
  long: number;
  longlong: number;
  shortstr: string;
  longstr: string | Uint8Array;
  bytes: string | Uint8Array;
  timestamp: number | bigint | Date;
  table: FieldTable;
}

type Lenient = 'bit' | 'table';

/** The arguments of a method as decoded: every field but the reserved ones. */
export type MethodArguments<N extends MethodName> = {
  [K in keyof Fields<N> as Visible<Fields<N>, K>]: Received[WireOf<Fields<N>[K]>];
};

/**
 * The arguments of a method to be sent. Bits and tables may be left out and are then false and empty; everything else
 * must be given, so that a forgotten delivery tag does not become 0, which means "all".
 */
export type MethodInput<N extends MethodName> = {
  readonly [K in keyof Fields<N> as WireOf<Fields<N>[K]> extends Lenient ? never : Visible<Fields<N>, K>]: Sent[WireOf<
    Fields<N>[K]
  >];
} & {
  readonly [K in keyof Fields<N> as WireOf<Fields<N>[K]> extends Lenient ? Visible<Fields<N>, K> : never]?:
    | Sent[WireOf<Fields<N>[K]>]
    | undefined;
};

/** A decoded method, told apart by `name`. */
export type DecodedMethod = {
  [N in MethodName]: { readonly name: N; readonly arguments: MethodArguments<N> };
}[MethodName];

/** The methods that a content header and body follow. */
export type ContentMethodName = {
  [N in MethodName]: Methods[N] extends { content: true } ? N : never;
}[MethodName];

/** The names of the methods that answer `N`; `never` when it has no answer. */
export type ReplyName<N extends MethodName> = Methods[N] extends { replies: readonly (infer R)[] }
  ? Extract<R, MethodName>
  : never;

/** The methods that have an answer. */
export type SynchronousMethodName = { [N in MethodName]: ReplyName<N> extends never ? never : N }[MethodName];

type Properties = typeof BASIC_PROPERTIES;

/**
 * The properties of a message to be sent (0-9-1 section 1.8, class basic). One that is absent or `undefined` is not
 * written; `priority: 0` and `headers: {}` are. Strings hold at most 255 bytes of UTF-8.
 */
export type BasicProperties = { readonly [K in keyof Properties]?: Sent[Properties[K]] | undefined };

/** The properties of a received message as a plain object; absent ones are absent. */
export type ReceivedProperties = { -readonly [K in keyof Properties]?: Received[Properties[K]] };
