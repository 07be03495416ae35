/** Private MariaDB servers, on the loopback interface only, each with its own folder and port. */
import type { Broker } from './broker.ts';
import { account, type DatabaseKind, DatabaseServer, runClient } from './database.ts';
import { findCommand } from './processes.ts';

const folders = ['/usr/sbin', '/usr/libexec'];

const kind: DatabaseKind = {
  name: 'mariadb',
  title: 'MariaDB',
  user: 'mysql',
  scheme: 'mysql',
  initialize: (data) => ({
    program: findCommand('mariadb-install-db') ?? 'mariadb-install-db',
    args: [
      '--no-defaults',
      `--datadir=${data}`,
      '--auth-root-authentication-method=normal',
      '--skip-test-db',
      '--skip-name-resolve',
      '--innodb-log-file-size=16M',
    ],
  }),
  serve: (data, port) => ({
    program: findCommand('mariadbd', ...folders) ?? 'mariadbd',
    args: [
      '--no-defaults',
      `--datadir=${data}`,
      '--bind-address=127.0.0.1',
      `--port=${port}`,
      // A path may be too long for a socket: the system's limit is 107 bytes.
      `--socket=wakame.sock`,
      `--pid-file=wakame.pid`,
      '--skip-name-resolve',
      '--character-set-server=utf8mb4',
      '--max-allowed-packet=256M',
      '--innodb-log-file-size=16M',
      '--innodb-buffer-pool-size=128M',
      // Its clients may be killed, and so may it: the system stays.
      '--innodb-flush-log-at-trx-commit=2',
      '--innodb-flush-method=nosync',
      '--innodb-doublewrite=0',
      '--skip-sync-frm',
      // A table is made quickly then.
      '--innodb-file-per-table=0',
      // Ends the command line with something behind the folder, by which the process is found.
      '--lc-messages=en_US',
    ],
  }),
  stopSignal: 'SIGTERM',
  async provide(server) {
    const sql = [
      `CREATE DATABASE IF NOT EXISTS ${account};`,
      `CREATE USER IF NOT EXISTS ${account}@127.0.0.1 IDENTIFIED BY '${account}';`,
      `GRANT ALL ON *.* TO ${account}@127.0.0.1;`,
    ].join('\n');
    const program = findCommand('mariadb') ?? 'mysql';
    await runClient(
      program,
      ['--no-defaults', `--host=${server.host}`, `--port=${server.port}`, '--user=root'],
      {},
      sql,
    );
  },
};

export const mariadb: Broker = {
  name: kind.name,
  title: kind.title,
  debianPackage: 'mariadb-server',
  isInstalled: () => findCommand('mariadbd', ...folders) !== undefined,
  open: (folder) => DatabaseServer.open(kind, folder),
};

/**
 * Starts a MariaDB of the test's own, empty, beside the one all tests share. The test stops it; `scripts/brokers down` stops those that a
 * test left behind.
 *
 * @param options.name Distinguishes the servers of one checkout that run at the same time.
 */
export function startMariadb(options: { name: string }): Promise<DatabaseServer> {
  return DatabaseServer.startOwn(kind, options.name);
}
