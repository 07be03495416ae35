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
import { connect, fromPool, isInTransaction, MysqlClient, query } from './client.js';
import { hasReadyIndex, type MysqlDialect } from './dialect.js';
import { classify, failureOf } from './errors.js';
import { dialectOf } from './servers.js';

type MysqlSession = ServerSession<MysqlDialect>;

/** MariaDB and MySQL, with the client library `mysql2`. */
export const mysqlBackend: Backend = {
  singleWriter: false,
  // Nobody can be told by this database. A look is one question.
  pace: { shortest: 5, longest: 150 },
  failureOf,
  classify,

  async open(options: OpenSession): Promise<MysqlSession> {
    const { options: settings, lost } = options;
    const { connection, end } = settings.pool === undefined ? await connect(options) : await fromPool(settings.pool);
    const client = new MysqlClient(connection, end);
    const session = new ServerSession(client, settings.timeout, lost);
    client.listen((error) => session.drop(error));
    try {
      const row = await session.transact('read', () => first('SELECT VERSION() AS version'));
      client.dialect = dialectOf(String(row?.version));
      await session.transact('read', () => begin(client.dialect));
      return session;
    } catch (error) {
      await session.close();
      throw error;
    }
  },

  async prepare(session: MysqlSession, names: Names): Promise<void> {
    const { dialect } = session;
    // What makes tables is no part of a transaction here.
    const isComplete = await session.transact('read', () => complete(dialect, names));
    if (!isComplete) await session.transact('read', () => create(dialect, names));
  },

  *improve({ dialect }: MysqlSession, names: Names): Steps<boolean> {
    const isOurs = yield* hasReadyIndex(names);
    if (isOurs === true) return true;
    try {
      return yield* dialect.makeReadyIndex(names, isOurs === false);
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

  async within<T>(
    { dialect }: MysqlSession,
    transaction: unknown,
    { database }: Target,
    work: () => Steps<T>,
  ): Promise<T> {
    const connection = connectionOf(transaction);
    const execute = (statement: Statement) => query(connection, dialect, statement);
    if (!(await isInTransaction(connection))) {
      throw unfit('the connection has none open; begin it first, or what is published stands at once');
    }
    await runAsync(requireFit(database), execute);
    return runAsync(work(), execute);
  },
};

/** What holds for the connection as a whole. */
function* begin(dialect: MysqlDialect): Steps<void> {
  yield* run('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED');
  const settings = [
    ...dialect.settings,
    'autocommit = 1',
    // The client escapes by backslashes.
    "sql_mode = 'STRICT_TRANS_TABLES'",
    "time_zone = '+00:00'",
  ];
  yield* run(`SET SESSION ${settings.join(', ')}`);
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

function unfit(text: string): InvalidArgumentError {
  return new InvalidArgumentError(`transaction: ${text}`, { outcome: 'not-sent' });
}

function* requireFit(database: string): Steps<void> {
  const row = yield* first("SELECT @@sql_mode LIKE '%NO_BACKSLASH_ESCAPES%' AS plain, DATABASE() AS name");
  if (toNumber(row?.plain) === 1) {
    throw unfit('its connection has the sql_mode NO_BACKSLASH_ESCAPES, in which mysql2 cannot write text');
  }
  if (String(row?.name).toLowerCase() !== database.toLowerCase()) {
    throw unfit(`its connection uses the database ${show(row?.name)}, and messages go to ${show(database)}`);
  }
}

function* complete({ numbersRows }: MysqlDialect, names: Names): Steps<boolean> {
  const wanted = [names.queue, names.message, names.meta];
  const found = yield* first(
    `SELECT (SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN (?)) AS tables_found,
      (SELECT count(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ?
        AND column_name = 'id' AND extra LIKE '%auto_increment%') AS numbered`,
    wanted,
    names.message,
  );
  if (toNumber(found?.numbered) > 0 && !numbersRows) {
    const text = `the server numbers the rows of ${names.message}: an SQLAlchemy before 1.4 made it, and Kombu's sequences are wanted`;
    throw new NotSupportedError(`mysql: ${text}`);
  }
  return toNumber(found?.tables_found) === wanted.length && (yield* checkVersion(names));
}

const LOCK = "LEFT(CONCAT('wakame.', DATABASE()), 64)";
/** Seconds. */
const PATIENCE = 5;

/** The lock keeps out others of ours. */
function* create(dialect: MysqlDialect, names: Names): Steps<void> {
  const lock = yield* first(`SELECT GET_LOCK(${LOCK}, ${PATIENCE}) AS got`);
  if (toNumber(lock?.got) !== 1) {
    throw new RecoverableConnectionError(`mysql: others have been making the tables for more than ${PATIENCE} s`);
  }
  try {
    for (const text of dialect.schema(names)) yield* run(text);
    yield* fillMeta(names);
    yield* checkVersion(names);
  } finally {
    yield* first(`SELECT RELEASE_LOCK(${LOCK}) AS released`);
  }
}
