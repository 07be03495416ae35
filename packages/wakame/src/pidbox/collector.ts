import { checkReceived, type StandardSchemaV1 } from '../messaging/schema.js';
import { deferred } from '../util/deferred.js';
import { noop } from '../util/noop.js';
import { after } from '../util/timer.js';
import type { Reply } from './wire.js';

/** What one call waits for. */
export interface Collection<T> {
  /** Replies at most. */
  readonly limit: number;
  readonly callback: ((reply: Reply<T>) => void) | undefined;
  readonly schema: StandardSchemaV1<unknown, T> | undefined;
}

/** Where the replies to a call go. */
export interface ReplySink {
  add(reply: Reply): void;
  /** A reply has come, readable or not. */
  counted(): void;
  /** The call rejects. */
  fail(error: unknown): void;
}

/**
 * The replies to one call.
 *
 * ```
 *   open ──── add: limit reached ────────────▶ done: resolves with what came
 *    │  └──── waitFor: silence for so long ──▶ done
 *    ├─ fail, callback throws ───────────────▶ done: rejects
 *    └─ close: nobody waits any more ────────▶ done
 * ```
 */
export class Collector<T> implements ReplySink {
  /** Rejects with what `fail` is given, or what the callback throws. */
  readonly replies: Promise<readonly Reply<T>[]>;
  readonly #collection: Collection<T>;
  readonly #done: () => void;
  readonly #settle: ReturnType<typeof deferred<readonly Reply<T>[]>>;
  /** In the order of their arrival; a promise while a schema is at work. */
  readonly #collected: (Reply<T> | Promise<Reply<T>>)[] = [];
  #count = 0;
  #silence: number | undefined;
  #offTimer: () => void = noop;
  #state: 'open' | 'done' = 'open';

  /** @param done Called once, when nothing more is wanted. */
  constructor(collection: Collection<T>, done: () => void) {
    this.#collection = collection;
    this.#done = done;
    this.#settle = deferred<readonly Reply<T>[]>();
    this.replies = this.#settle.promise;
    // It may fail before anybody waits for it.
    this.replies.catch(noop);
  }

  /** The request is out: from now on, silence of `ms` milliseconds ends the wait. */
  waitFor(ms: number): void {
    if (this.#state === 'done') return;
    this.#silence = ms;
    this.#listen();
  }

  add(reply: Reply): void {
    if (this.#state === 'done') return;
    const { schema } = this.#collection;
    const read = schema === undefined ? (reply as Reply<T>) : fitted(reply, schema);
    if (read instanceof Promise) {
      const told = read.then((fit) => this.#tell(fit));
      told.catch((error: unknown) => this.fail(error));
      this.#collected.push(told);
    } else {
      try {
        this.#collected.push(this.#tell(read));
      } catch (error) {
        this.fail(error);
        return;
      }
    }
    this.counted();
  }

  counted(): void {
    if (this.#state === 'done') return;
    this.#count += 1;
    if (this.#count >= this.#collection.limit) this.#finish();
    else if (this.#silence !== undefined) this.#listen();
  }

  fail(error: unknown): void {
    this.close();
    this.#settle.reject(error);
  }

  /** Takes no more replies. */
  close(): void {
    if (this.#state === 'done') return;
    this.#state = 'done';
    this.#offTimer();
    this.#done();
  }

  #tell(reply: Reply<T>): Reply<T> {
    this.#collection.callback?.(reply);
    return reply;
  }

  #listen(): void {
    this.#offTimer();
    this.#offTimer = after(this.#silence ?? Number.POSITIVE_INFINITY, () => this.#finish());
  }

  #finish(): void {
    this.close();
    this.#settle.resolve(Promise.all(this.#collected));
  }
}

/** The reply as the schema gives it back; an error when its value does not fit. */
function fitted<T>(reply: Reply, schema: StandardSchemaV1<unknown, T>): Reply<T> | Promise<Reply<T>> {
  const { hostname, error, value } = reply;
  if (error !== undefined) return { hostname, error };
  const misfit = (thrown: unknown): Reply<T> => ({
    hostname,
    error: thrown instanceof Error ? thrown.message : String(thrown),
  });
  try {
    const checked = checkReceived(schema, value);
    if (!(checked instanceof Promise)) return { hostname, value: checked };
    return checked.then((output) => ({ hostname, value: output }), misfit);
  } catch (thrown) {
    return misfit(thrown);
  }
}
