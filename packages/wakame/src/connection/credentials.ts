/**
 * Credentials that change: asked for at each connect, and replaced on the open connection before they expire.
 */
import type { MessagingError } from '../errors.js';
import { AuthenticationError, InvalidArgumentError } from '../errors.js';
import type { TransportConnection } from '../transport/contract.js';
import { jitteredBackoff } from '../util/backoff.js';
import { checkDuration } from '../util/check.js';
import { LONGEST_TIMER } from '../util/timer.js';

/** A user's name and password, and for how long they are good. */
export interface Credentials {
  readonly userid?: string | undefined;
  readonly password?: string | undefined;
  /** Milliseconds until the password expires; a new one is asked for before. Absent: it does not. */
  readonly expiresIn?: number | undefined;
}

/** Asked at each connect. What it throws fails that try with AUTH_FAILED. */
export type CredentialsProvider = () => Credentials | Promise<Credentials>;

/** The part of the lifetime after which the next secret is asked for. */
const RENEW_AT = 0.8;

export class CredentialsKeeper {
  readonly #ask: CredentialsProvider;
  readonly #problem: (error: MessagingError) => void;
  #timer: NodeJS.Timeout | undefined;
  /** Changes when a renewal under way has become nobody's business. */
  #turn = 0;
  #expiresIn: number | undefined;

  constructor(ask: CredentialsProvider, problem: (error: MessagingError) => void) {
    this.#ask = ask;
    this.#problem = problem;
  }

  /** The credentials for a try to connect. Rejects AUTH_FAILED when they could not be had. */
  async get(): Promise<Credentials> {
    let credentials: Credentials;
    try {
      credentials = await this.#ask();
    } catch (cause) {
      // The cause may hold secrets; its own message is the user's to show.
      throw new AuthenticationError('the credentials function failed', { cause, phase: 'sasl' });
    }
    check(credentials);
    this.#expiresIn = credentials.expiresIn;
    return credentials;
  }

  /** Keeps the secret of this connection fresh until `stop`. */
  watch(connection: TransportConnection): void {
    this.stop();
    if (this.#expiresIn !== undefined) this.#schedule(connection, this.#expiresIn * RENEW_AT, 0);
  }

  stop(): void {
    this.#turn++;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #schedule(connection: TransportConnection, wait: number, failures: number): void {
    const turn = this.#turn;
    this.#timer = setTimeout(() => void this.#renew(connection, turn, failures), Math.min(wait, LONGEST_TIMER));
  }

  async #renew(connection: TransportConnection, turn: number, failures: number): Promise<void> {
    let next: number | undefined;
    let failed = 0;
    try {
      const credentials = await this.get();
      if (turn !== this.#turn) return;
      if (credentials.password !== undefined) await connection.updateSecret(credentials.password);
      if (credentials.expiresIn !== undefined) next = credentials.expiresIn * RENEW_AT;
    } catch (error) {
      if (turn !== this.#turn) return;
      failed = failures + 1;
      next = jitteredBackoff(failures, { start: 1000, max: 30_000 });
      this.#problem(
        error instanceof AuthenticationError
          ? error
          : new AuthenticationError('the secret could not be renewed', { cause: error }),
      );
    }
    if (turn === this.#turn && next !== undefined) this.#schedule(connection, next, failed);
  }
}

/** Names what is wrong, never the values. */
function check(credentials: unknown): asserts credentials is Credentials {
  if (typeof credentials !== 'object' || credentials === null) {
    throw new InvalidArgumentError(`credentials must give an object, not ${typeof credentials}`);
  }
  for (const name of ['userid', 'password'] as const) {
    const value = (credentials as Credentials)[name];
    if (value !== undefined && typeof value !== 'string') {
      throw new InvalidArgumentError(`credentials gave a ${name} that is no string but ${typeof value}`);
    }
  }
  const { expiresIn } = credentials as Credentials;
  if (expiresIn !== undefined) checkDuration('expiresIn', expiresIn, { min: 1000 });
}
