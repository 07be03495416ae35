/** From the command line to an open connection, and back to the shell: signals, errors, exit code. */
import { Connection } from 'wakame';
import type { Context } from './context.js';
import { EXIT, errorCodeOf, exitCodeOf } from './exit-codes.js';
import type { CommonFlags } from './flags.js';
import { Output, printable } from './output.js';
import { time } from './parse.js';

/** Milliseconds for connecting to one host. */
const CONNECT_TIMEOUT = 5_000;

/** The user has had enough. */
class Interrupted extends Error {
  readonly exitCode: number;

  constructor(exitCode: number) {
    super('interrupted');
    this.exitCode = exitCode;
  }
}

export interface Session {
  readonly out: Output;
  /** Aborted when the command shall come to its end: nothing new is begun, and what is in hand is finished. */
  readonly signal: AbortSignal;
  /** Resolves when a connection stands. The session closes it. */
  connect(url?: string): Promise<Connection>;
  /** Called when the user insists: what runs outside of this process ends now. */
  onInsist(stop: () => void): void;
}

/**
 * Runs the body of a command. Ctrl-C, SIGTERM and a reader that goes away (`| head`) abort `signal`; a second Ctrl-C ends the process at
 * once, and the broker gives what was in hand to others.
 */
export async function session(
  context: Context,
  flags: { readonly json: boolean; readonly url?: string | undefined; readonly wait?: number | undefined },
  body: (session: Session) => Promise<void>,
): Promise<void> {
  const { host: process, outcome } = context;
  const json = flags.json || context.leading.json;
  const out = new Output(process.stdout, process.stderr, { json, environment: process.env });
  const controller = new AbortController();
  const connections: Connection[] = [];
  const insisted: (() => void)[] = [];

  const interrupt = (exitCode: number) => () => {
    if (controller.signal.aborted) {
      for (const stop of insisted) stop();
      process.exit(exitCode);
    }
    controller.abort(new Interrupted(exitCode));
    out.note('stopping; once more to quit at once');
  };
  const onInterrupt = interrupt(EXIT.interrupted);
  const onTerminate = interrupt(EXIT.terminated);
  const onPipe = (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') controller.abort(new Interrupted(EXIT.done));
  };
  process.on('SIGINT', onInterrupt);
  process.on('SIGTERM', onTerminate);
  process.stdout.on('error', onPipe);

  try {
    await body({
      out,
      signal: controller.signal,
      connect: async (url) => {
        const connection = open(out, url ?? flags.url ?? context.leading.url ?? process.env.WAKAME_URL);
        connections.push(connection);
        await established(connection, flags.wait, controller.signal);
        return connection;
      },
      onInsist: (stop) => insisted.push(stop),
    });
    out.warnOfAll();
    if (controller.signal.aborted) outcome.exitCode = (controller.signal.reason as Interrupted).exitCode;
  } catch (error) {
    out.warnOfAll();
    const isOurs = error === controller.signal.reason || (error as NodeJS.ErrnoException).code === 'EPIPE';
    const reason = controller.signal.reason as Interrupted | undefined;
    if (isOurs) outcome.exitCode = reason?.exitCode ?? EXIT.done;
    else {
      out.fail(messageOf(error), errorCodeOf(error));
      outcome.exitCode = exitCodeOf(error);
    }
  } finally {
    await Promise.all(connections.map((connection) => connection.close()));
    process.off('SIGINT', onInterrupt);
    process.off('SIGTERM', onTerminate);
  }
}

/** A session with one connection. */
export type Connected = Session & { readonly connection: Connection };

/** The session of a command with one connection. */
export function withConnection(
  context: Context,
  flags: CommonFlags,
  body: (session: Connected) => Promise<void>,
): Promise<void> {
  return session(context, flags, async (open) => body({ ...open, connection: await open.connect() }));
}

/** Where a connection leads, for a question: without options. */
export function placeOf(connection: Connection): string {
  return connection.asUri().replace(/\?.*/, '');
}

function open(out: Output, url: string | undefined): Connection {
  const connection = new Connection(url, { connectTimeout: CONNECT_TIMEOUT });
  connection.on('problem', (error) => out.warn(printable(error.message)));
  connection.on('disconnected', (error) => {
    out.warn(`connection lost: ${printable(error.message)}; connecting again`);
  });
  connection.on('recovered', ({ host, duration }) => out.note(`connected again to ${host} after ${time(duration)}`));
  connection.on('blocked', (reason) => out.warn(`the broker takes no messages: ${printable(reason)}`));
  connection.on('unblocked', () => out.note('the broker takes messages again'));
  return connection;
}

/** One try for each host, or as long as `wait` says. */
async function established(connection: Connection, wait: number | undefined, signal: AbortSignal): Promise<void> {
  if (wait !== undefined) await connection.connect({ timeout: wait, signal });
  else await connection.ensureConnection({ maxRetries: connection.info().alternates.length, signal });
}

function messageOf(error: unknown): string {
  return printable(error instanceof Error ? error.message : String(error));
}
