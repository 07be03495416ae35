/** What the shell proposes: names of queues and exchanges of the broker in $WAKAME_URL, commands and options. */
import { Connection } from 'wakame';
import type { Context } from './context.js';

/** Milliseconds that somebody waits who has pressed the tab key. */
const PATIENCE = 1_500;

export function queueNames(this: Context, partial: string): Promise<readonly string[]> {
  return names(this, partial, async (connection) =>
    (await connection.catalog.queues({ timeout: PATIENCE })).map(({ name }) => name),
  );
}

export function exchangeNames(this: Context, partial: string): Promise<readonly string[]> {
  return names(this, partial, async (connection) =>
    (await connection.catalog.exchanges({ timeout: PATIENCE })).map(({ name }) => name),
  );
}

/** Nothing when the broker cannot be asked: a shell that completes is no place for errors. */
async function names(
  { host, leading }: Context,
  partial: string,
  list: (connection: Connection) => Promise<readonly string[]>,
): Promise<readonly string[]> {
  const url = leading.url ?? host.env.WAKAME_URL;
  if (url === undefined) return [];
  let connection: Connection | undefined;
  try {
    connection = new Connection(url, { connectTimeout: PATIENCE });
    await connection.ensureConnection({ maxRetries: 0, timeout: PATIENCE });
    return (await list(connection)).filter((name) => name !== '' && name.startsWith(partial));
  } catch {
    return [];
  } finally {
    await connection?.close({ timeout: PATIENCE });
  }
}
