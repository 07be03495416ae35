import type { Dialect, ErrorReader } from './dialect.js';
import type { Names } from './names.js';
import type { SqlOptions } from './options.js';
import type { Steps } from './steps.js';
import type { Target } from './target.js';

/** `read`: nothing is changed. `write`: whole or not at all. */
export type Mode = 'read' | 'write';

/** An open connection to a database. It never reconnects. */
export interface Session {
  /** The words of the database at the other end. */
  readonly dialect: Dialect;
  /** One transaction. Only one at a time. Rejects with the database's errors, rolled back. */
  transact<T>(mode: Mode, work: () => Steps<T>): T | Promise<T>;
  /** Whether anybody else changed something since it was last asked; undefined: nobody can tell without looking. */
  readonly changed?: (() => boolean) | undefined;
  /** Rejects when the connection is of no use any more in a way that no statement would show. */
  readonly check?: (() => Promise<void>) | undefined;
  info(): Promise<Readonly<Record<string, unknown>>>;
  /** Never rejects. */
  close(): Promise<void>;
}

export interface OpenSession {
  readonly target: Target;
  readonly options: SqlOptions;
  readonly names: Names;
  readonly connectTimeout: number;
  readonly signal: AbortSignal | undefined;
  /** The connection is gone. May be called more than once, also after `close`. */
  readonly lost: (error: unknown) => void;
  /** Others changed queues; undefined: any of them. */
  readonly notified: (queueIds: ReadonlySet<number> | undefined) => void;
}

/** A kind of database. */
export interface Backend extends ErrorReader {
  /** There is one writer at a time in all processes: it is worth a look whether there is anything to write. */
  readonly singleWriter: boolean;
  /** How often, in milliseconds, to look for what nobody told of: soon after something happened, and at the longest. */
  readonly pace: { readonly shortest: number; readonly longest: number };
  open(options: OpenSession): Promise<Session>;
  /** Makes the tables if they are not there. */
  prepare(session: Session, names: Names): Promise<void>;
  /**
   * Makes the tables better than somebody else made them, where that is possible without waiting for others. Gives whether nothing is left to do; undefined: nothing ever
   * is. Run in no transaction, now and then, until it is done.
   */
  improve?(session: Session, names: Names): Steps<boolean>;
  /** The largest payload that the tables take, in bytes; undefined: none that matters. */
  payloadLimit?(session: Session, names: Names): Promise<number | undefined>;
  /**
   * Runs an operation in a transaction of the user's.
   *
   * @param session One of our own, to the same server.
   * @param transaction What the user handed over. Throws INVALID_ARGUMENT when it is no open transaction on this database.
   */
  within<T>(session: Session, transaction: unknown, target: Target, work: () => Steps<T>): Promise<T>;
}
