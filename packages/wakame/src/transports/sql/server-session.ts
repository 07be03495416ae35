import { RecoverableConnectionError } from '../../errors.js';
import type { Mode, Session } from './backend.js';
import type { Dialect } from './dialect.js';
import { type Answer, runAsync, type Statement, type Steps } from './steps.js';

/** A connection to a database server: what the client libraries have in common. */
export interface ServerClient<D extends Dialect> {
  readonly dialect: D;
  /** Rejects with the database's errors. */
  execute(statement: Statement): Promise<Answer>;
  info(): Promise<Readonly<Record<string, unknown>>>;
  /** Says goodbye, or hands the connection back to its pool. May reject. */
  end(): Promise<void>;
  /** Drops it at once. */
  destroy(): void;
}

const plain = (text: string): Statement => ({ text, values: [], returns: false });

/** Transactions on a server, each answer awaited for so long at most. */
export class ServerSession<D extends Dialect> implements Session {
  readonly #client: ServerClient<D>;
  readonly #timeout: number;
  readonly #lost: (error: unknown) => void;
  #state: 'open' | 'closing' | 'closed' = 'open';

  /** @param timeout Milliseconds that one answer may take; then the connection is given up. */
  constructor(client: ServerClient<D>, timeout: number, lost: (error: unknown) => void) {
    this.#client = client;
    this.#timeout = timeout;
    this.#lost = lost;
  }

  get dialect(): D {
    return this.#client.dialect;
  }

  /** Reads need no transaction: each statement sees what was committed when it began. */
  async transact<T>(mode: Mode, work: () => Steps<T>): Promise<T> {
    const execute = (statement: Statement) => this.#execute(statement);
    if (mode === 'read') return runAsync(work(), execute);
    await execute(plain('BEGIN'));
    let result: T;
    try {
      result = await runAsync(work(), execute);
    } catch (error) {
      await execute(plain('ROLLBACK')).catch(() => undefined);
      throw error;
    }
    await execute(plain('COMMIT'));
    return result;
  }

  info(): Promise<Readonly<Record<string, unknown>>> {
    return this.#client.info();
  }

  async close(): Promise<void> {
    if (this.#state !== 'open') return;
    this.#state = 'closing';
    const timer = setTimeout(() => this.#client.destroy(), this.#timeout);
    await this.#client.end().catch(() => this.#client.destroy());
    clearTimeout(timer);
    this.#state = 'closed';
  }

  /** The connection is of no use any more. */
  drop(error: unknown): void {
    if (this.#state !== 'open') return;
    this.#state = 'closed';
    this.#client.destroy();
    this.#lost(error);
  }

  async #execute(statement: Statement): Promise<Answer> {
    if (this.#state !== 'open') throw new RecoverableConnectionError('the connection to the database is closed');
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        const text = `the database did not answer within ${this.#timeout} ms`;
        const error = new RecoverableConnectionError(text);
        reject(error);
        this.drop(error);
      }, this.#timeout);
    });
    try {
      return await Promise.race([this.#client.execute(statement), late]);
    } finally {
      clearTimeout(timer);
    }
  }
}
