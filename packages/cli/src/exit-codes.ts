/** What the command's exit code tells a script. The table is repeated in README.md and docs/guides/cli.md. */
import { MessagingError } from 'wakame';

export const EXIT = {
  done: 0,
  /** The broker refused, or something failed on the way. */
  failed: 1,
  /** The command line makes no sense, or asks for a confirmation that nobody can give. */
  usage: 2,
  /** There was nothing: no message, no reply. */
  nothing: 3,
  /** No connection: unreachable, or not let in. */
  unreachable: 4,
  /** A queue, an exchange or a virtual host that does not exist. */
  notFound: 5,
  /** Ctrl-C: 128 and the number of the signal, as shells have it. */
  interrupted: 130,
  /** SIGTERM. */
  terminated: 143,
} as const;

/** A mistake in the command line that the parser cannot see. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Ends the command with an exit code of its own and a message for people. */
export class Failure extends Error {
  override readonly name = 'Failure';
  readonly exitCode: number;

  constructor(message: string, exitCode: number = EXIT.failed) {
    super(message);
    this.exitCode = exitCode;
  }
}

const UNREACHABLE = new Set(['CONNECT_FAILED', 'CONNECTION_LOST', 'AUTH_FAILED', 'VHOST_NOT_FOUND', 'TLS_FAILED']);
const USAGE = new Set(['INVALID_ARGUMENT', 'INVALID_URL', 'UNKNOWN_TRANSPORT']);

export function exitCodeOf(error: unknown): number {
  if (error instanceof Failure) return error.exitCode;
  if (error instanceof UsageError) return EXIT.usage;
  if (!(error instanceof MessagingError)) return EXIT.failed;
  if (USAGE.has(error.code)) return EXIT.usage;
  if (error.code === 'NOT_FOUND') return EXIT.notFound;
  return UNREACHABLE.has(error.code) ? EXIT.unreachable : EXIT.failed;
}

const CODES: ReadonlyMap<number, string> = new Map([
  [EXIT.nothing, 'EMPTY'],
  [EXIT.notFound, 'NOT_FOUND'],
  [EXIT.unreachable, 'CONNECT_FAILED'],
]);

/** The code of an error for programs: the library's own words, and the system's (ENOENT). */
export function errorCodeOf(error: unknown): string {
  if (error instanceof UsageError) return 'INVALID_ARGUMENT';
  if (error instanceof Failure) return CODES.get(error.exitCode) ?? 'FAILED';
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === 'string' ? code : 'FAILED';
}
