/** Private MySQL servers, on the loopback interface only, each with its own folder and port. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../setup.mjs';
import type { Broker } from './broker.ts';
import { type Command, type DatabaseKind, DatabaseServer } from './database.ts';
import { canUnpack, unpack, unpackedCommand } from './debian-unpacked.ts';
import { findCommand } from './processes.ts';

/** Debian's stable releases have MariaDB in its place: there it is unpacked into a folder of this checkout. */
const unpacked = join(root, '.cache', 'mysql');

let installed: string | undefined;

/** A `mysqld` of this machine that is MySQL's: MariaDB's goes by that name, too. */
function installedServer(): string | undefined {
  const found = installed ?? findCommand('mysqld', '/usr/sbin', '/usr/libexec');
  if (found === undefined || found === installed) return found;
  const { stdout } = spawnSync(found, ['--version'], { encoding: 'utf8' });
  installed = /mariadb/i.test(stdout) ? undefined : found;
  return installed;
}

function mysqld(...args: string[]): Command {
  const program = installedServer();
  if (program !== undefined) return { program, args: ['--no-defaults', ...args] };
  const where = [`--basedir=${unpacked}/usr`, `--lc-messages-dir=${unpacked}/usr/share/mysql`];
  return unpackedCommand(unpacked, 'usr/sbin/mysqld', ['--no-defaults', ...where, ...args]);
}

const kind: DatabaseKind = {
  name: 'mysql',
  title: 'MySQL',
  scheme: 'mysql',
  initialize: (data) =>
    mysqld(
      '--initialize-insecure',
      ...asRoot(),
      `--init-file=${join(import.meta.dirname, 'mysql.sql')}`,
      '--innodb-redo-log-capacity=32M',
      `--datadir=${data}`,
    ),
  serve: (data, port) =>
    mysqld(
      ...asRoot(),
      `--datadir=${data}`,
      '--bind-address=127.0.0.1',
      `--port=${port}`,
      // A path may be too long for a socket: the system's limit is 107 bytes.
      '--socket=wakame.sock',
      '--pid-file=wakame.pid',
      '--mysqlx=OFF',
      '--secure-file-priv=',
      '--skip-name-resolve',
      '--max-allowed-packet=256M',
      '--innodb-redo-log-capacity=32M',
      '--innodb-buffer-pool-size=128M',
      '--performance-schema-consumer-events-statements-current=OFF',
      // Its clients may be killed, and so may it: the system stays.
      '--innodb-flush-log-at-trx-commit=2',
      '--innodb-flush-method=nosync',
      '--innodb-doublewrite=OFF',
      '--disable-log-bin',
      // Ends the command line with something behind the folder, by which the process is found.
      '--lc-messages=en_US',
    ),
  stopSignal: 'SIGTERM',
  // Made with the folder of data.
  provide: async () => undefined,
};

/** Its package, where there is one, would take the place of MariaDB's. */
function install(): void {
  if (!canUnpack()) throw new Error('MySQL is not installed: put its mysqld on the path, or set WAKAME_TEST_MYSQL_URL');
  unpack('mysql-server-core', unpacked);
}

/** Root has to say that it means it. */
function asRoot(): string[] {
  return process.getuid?.() === 0 ? ['--user=root'] : [];
}

export const mysql: Broker = {
  name: kind.name,
  title: kind.title,
  debianPackage: 'mysql-server',
  isInstalled: () => existsSync(unpacked) || installedServer() !== undefined,
  install,
  open: (folder) => DatabaseServer.open(kind, folder),
};

/**
 * Starts a MySQL of the test's own, empty, beside the one all tests share. The test stops it; `scripts/brokers down` stops those that a
 * test left behind.
 *
 * @param options.name Distinguishes the servers of one checkout that run at the same time.
 */
export function startMysql(options: { name: string }): Promise<DatabaseServer> {
  return DatabaseServer.startOwn(kind, options.name);
}
