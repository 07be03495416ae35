/** Private PostgreSQL servers, on the loopback interface only, each with its own folder and port. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Broker } from './broker.ts';
import { account, type DatabaseKind, DatabaseServer, runClient } from './database.ts';
import { findCommand } from './processes.ts';

/** Debian keeps the programs of each release in a folder of its own, which is not in PATH. */
const versions = '/usr/lib/postgresql';

function program(name: string): string {
  const releases = existsSync(versions) ? readdirSync(versions).sort((a, b) => Number(b) - Number(a)) : [];
  return findCommand(name, ...releases.map((release) => join(versions, release, 'bin'))) ?? name;
}

const kind: DatabaseKind = {
  name: 'postgresql',
  title: 'PostgreSQL',
  user: 'postgres',
  scheme: 'postgresql',
  initialize: (data) => ({
    program: program('initdb'),
    args: [
      '--pgdata',
      data,
      '--username',
      'postgres',
      '--auth',
      'trust',
      '--no-locale',
      '--encoding',
      'UTF8',
      '--no-sync',
    ],
  }),
  serve: (data, port) => {
    const settings = {
      listen_addresses: '127.0.0.1',
      port,
      unix_socket_directories: '',
      // Its clients may be killed, and so may it: the system stays.
      fsync: 'off',
      full_page_writes: 'off',
      max_connections: 200,
      shared_buffers: '64MB',
      // The clock of the tests and of the processes in them is that of the machine.
      timezone: 'UTC',
    };
    const options = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    return { program: program('postgres'), args: ['-D', data, ...options] };
  },
  // "Fast": clients are disconnected and their transactions rolled back.
  stopSignal: 'SIGINT',
  async provide(server) {
    const sql = [
      `DO $$ BEGIN CREATE ROLE ${account} LOGIN SUPERUSER PASSWORD '${account}'; EXCEPTION WHEN duplicate_object THEN NULL; END $$;`,
      `SELECT 'CREATE DATABASE ${account} OWNER ${account}' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '${account}')\\gexec`,
    ].join('\n');
    await psql(server, sql);
  },
};

/** Runs statements as the superuser. Gives the values of their rows, a row a line. */
export function psql(server: DatabaseServer, sql: string): Promise<string> {
  const quiet = ['--no-psqlrc', '--quiet', '--tuples-only', '--no-align', '--set', 'ON_ERROR_STOP=1'];
  const connect = ['--host', server.host, '--port', String(server.port), '--username', 'postgres', 'postgres'];
  return runClient(program('psql'), [...quiet, ...connect], {}, sql);
}

export const postgresql: Broker = {
  name: kind.name,
  title: kind.title,
  debianPackage: 'postgresql',
  isInstalled: () => findCommand('postgres') !== undefined || program('postgres') !== 'postgres',
  open: (folder) => DatabaseServer.open(kind, folder),
};

/**
 * Starts a PostgreSQL of the test's own, empty, beside the one all tests share. The test stops it; `scripts/brokers down` stops those that a
 * test left behind.
 *
 * @param options.name Distinguishes the servers of one checkout that run at the same time.
 */
export function startPostgresql(options: { name: string }): Promise<DatabaseServer> {
  return DatabaseServer.startOwn(kind, options.name);
}
