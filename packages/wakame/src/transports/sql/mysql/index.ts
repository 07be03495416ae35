import type { Connection } from 'mysql2';
import { InvalidArgumentError, NotSupportedError, RecoverableConnectionError } from '../../../errors.js';
import { show } from '../../../util/check.js';
import type { Backend, OpenSession, Session } from '../backend.js';
import { toNumber } from '../dialect.js';
import type { Names } from '../names.js';
import { checkVersion, fillMeta } from '../schema.js';
import { ServerSession } from '../server-session.js';
import { first, run, runAsync, type Statement, type Steps } from '../steps.js';
import type { Target } from '../target.js';
import { connect, fromPool, MysqlClient, query } from './client.js';
import { hasReadyIndex, makeReadyIndex, mysqlDialect } from './dialect.js';
import { classify, failureOf } from './errors.js';

/** The first release with all that is used: `SKIP LOCKED`. */
const OLDEST = [10, 6] as const;

/** MariaDB, with the client library `mysql2`. */
export const mysqlBackend: Backend = {
  dialect: mysqlDialect,
  singleWriter: false,
  // Nobody can be told by this database. A look is one question.
  pace: { shortest: 5, longest: 150 },
  failureOf,
  classify,

  async open(options: OpenSession): Promise<Session> {
    const { options: settings, lost } = options;
    const { connection, end } = settings.pool === undefined ? await connect(options) : await fromPool(settings.pool);
    const client = new MysqlClient(connection, end);
    const session = new ServerSession(client, settings.timeout, lost);
    client.listen((error) => session.drop(error));
    try {
      await session.transact('read', begin);
      return session;
    } catch (error) {
      await session.close();
      throw error;
    }
  },

  async prepare(session: Session, names: Names): Promise<void> {
    // What makes tables is no part of a transaction here.
    if (!(await session.transact('read', () => complete(names)))) await session.transact('read', () => create(names));
  },

  *improve(names: Names): Steps<boolean> {
    const isOurs = yield* hasReadyIndex(names);
    if (isOurs === true) return true;
    try {
      yield* makeReadyIndex(names);
      return true;
    } catch (error) {
      if (isOurs === undefined || failureOf(error) !== 'busy') throw error;
      return false;
    }
  },

  async payloadLimit(session: Session, names: Names): Promise<number | undefined> {
    const row = await session.transact('read', () =>
      first(
        `SELECT character_maximum_length AS most, @@max_allowed_packet AS packet FROM information_schema.columns
          WHERE table_schema = DATABASE() AND table_name = ? AND column_name = 'payload'`,
        names.message,
      ),
    );
    // In a statement, quotation marks and backslashes are two characters.
    return Math.min(toNumber(row?.most), Math.floor(toNumber(row?.packet) / 2) - 1024);
  },

  async within<T>(transaction: unknown, { database }: Target, work: () => Steps<T>): Promise<T> {
    const connection = connectionOf(transaction);
    const execute = (statement: Statement) => query(connection, statement);
    await runAsync(requireTransaction(database), execute);
    return runAsync(work(), execute);
  },
};

/**
 * What holds for the connection as a whole. No row is waited for: Kombu looks for the next message in whichever index the server chooses, and locks rows and gaps as it
 * goes, so whoever waits with locks of its own is sooner or later waited for in turn. The server would end Kombu's transaction then, which Kombu does not try again;
 * and who never waits is in no such circle. A row that others have is tried again a moment later, with nothing in hand.
 */
function* begin(): Steps<void> {
  const row = yield* first('SELECT VERSION() AS version');
  checkRelease(String(row?.version));
  yield* run('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED');
  const settings = [
    'innodb_lock_wait_timeout = 0',
    // Seconds, for somebody who changes a table.
    'lock_wait_timeout = 5',
    'autocommit = 1',
    // The client escapes by backslashes.
    "sql_mode = 'STRICT_TRANS_TABLES'",
    "time_zone = '+00:00'",
  ];
  yield* run(`SET SESSION ${settings.join(', ')}`);
}

/** MySQL has other words for half of it. */
function checkRelease(version: string): void {
  const [, major = 0, minor = 0] = (/^(?:5\.5\.5-)?(\d+)\.(\d+)/.exec(version) ?? []).map(Number);
  const isNew = major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1]);
  if (/mariadb/i.test(version) && isNew) return;
  throw new NotSupportedError(`mysql: MariaDB ${OLDEST.join('.')} or later is needed, and this server is ${version}`);
}

/** The connection beneath what mysql2 gives an application: promises or callbacks, of a pool or not. */
function connectionOf(transaction: unknown): Connection {
  const given = transaction as {
    readonly connection?: unknown;
    readonly query?: unknown;
    readonly getConnection?: unknown;
  } | null;
  const isHandle = typeof given === 'object' && given !== null && typeof given.query === 'function';
  if (!isHandle) {
    const wanted = 'a connection of mysql2, on the same database, with a transaction begun';
    throw new InvalidArgumentError(`transaction must be ${wanted}, not ${show(transaction)}`, { outcome: 'not-sent' });
  }
  if (typeof given.getConnection === 'function') {
    const text = 'transaction must be a connection of mysql2: a pool runs each statement on any connection';
    throw new InvalidArgumentError(text, { outcome: 'not-sent' });
  }
  const beneath = given.connection as Connection | undefined;
  return typeof beneath?.query === 'function' ? beneath : (transaction as Connection);
}

function* requireTransaction(database: string): Steps<void> {
  const row = yield* first(
    "SELECT @@in_transaction AS begun, @@sql_mode LIKE '%NO_BACKSLASH_ESCAPES%' AS plain, DATABASE() AS name",
  );
  const refuse = (text: string) => new InvalidArgumentError(`transaction: ${text}`, { outcome: 'not-sent' });
  if (toNumber(row?.begun) !== 1) {
    throw refuse('the connection has none open; begin it first, or what is published stands at once');
  }
  if (toNumber(row?.plain) === 1) {
    throw refuse('its connection has the sql_mode NO_BACKSLASH_ESCAPES, in which mysql2 cannot write text');
  }
  if (String(row?.name).toLowerCase() !== database.toLowerCase()) {
    throw refuse(`its connection uses the database ${show(row?.name)}, and messages go to ${show(database)}`);
  }
}

function* complete(names: Names): Steps<boolean> {
  const wanted = [names.queue, names.message, names.meta];
  const found = yield* first(
    `SELECT (SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN (?)) AS tables_found,
      (SELECT count(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ?
        AND column_name = 'id' AND extra LIKE '%auto_increment%') AS numbered`,
    wanted,
    names.message,
  );
  if (toNumber(found?.numbered) > 0) {
    const text = `the server numbers the rows of ${names.message}: an SQLAlchemy before 1.4 made it, and Kombu's sequences are wanted`;
    throw new NotSupportedError(`mysql: ${text}`);
  }
  return toNumber(found?.tables_found) === wanted.length && (yield* checkVersion(names));
}

const LOCK = "LEFT(CONCAT('wakame.', DATABASE()), 64)";
/** Seconds. */
const PATIENCE = 5;

/** The lock keeps out others of ours. */
function* create(names: Names): Steps<void> {
  const lock = yield* first(`SELECT GET_LOCK(${LOCK}, ${PATIENCE}) AS got`);
  if (toNumber(lock?.got) !== 1) {
    throw new RecoverableConnectionError(`mysql: others have been making the tables for more than ${PATIENCE} s`);
  }
  try {
    for (const text of mysqlDialect.schema(names)) yield* run(text);
    yield* fillMeta(names);
    yield* checkVersion(names);
  } finally {
    yield* first(`SELECT RELEASE_LOCK(${LOCK}) AS released`);
  }
}
