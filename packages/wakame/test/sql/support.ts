/** What tests of the sql transport share. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import mysql from 'mysql2';
import mysqlClient from 'mysql2/promise';
import pg, { type Client } from 'pg';
import { afterAll, beforeAll } from 'vitest';
import { brokerUrl } from '../../../../scripts/lib/brokers/environment.ts';
import type { ConnectionParameters } from '../../src/transport/contract.js';

/** So many at scale 1. */
export function scaled(count: number): number {
  return Math.ceil(count * Number(process.env.WAKAME_TEST_SCALE ?? 1));
}

/** A folder that goes with the test file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'wakame-sql-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** What a Connection would hand to the driver. */
export function sqliteParameters(
  file: string,
  transportOptions: ConnectionParameters['transportOptions'] = {},
): ConnectionParameters {
  return {
    transport: 'sqlite',
    hostname: `sqlite:${file}`,
    port: undefined,
    userid: undefined,
    password: undefined,
    virtualHost: undefined,
    ssl: false,
    connectTimeout: 5000,
    heartbeat: 0,
    loginMethod: undefined,
    transportOptions,
  };
}

/** What the tests of a database server need: tables of their own for each. */
export interface Databases {
  /** Tables that nobody used before. */
  emptyStore(transportOptions?: ConnectionParameters['transportOptions']): Promise<ConnectionParameters>;
  /** The URL of a database that nobody used before. */
  newUrl(): Promise<string>;
}

/** On the PostgreSQL that all tests share: a database of this file's own, emptied for each test. */
export function postgresqlDatabases(): Databases {
  const name = `sql_${process.pid}`;
  const url = new URL(brokerUrl('postgresql'));
  let admin: Client | undefined;
  beforeAll(async () => {
    admin = new pg.Client(url.href);
    await admin.connect();
    await admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    await admin.query(`CREATE DATABASE ${name}`);
  });
  afterAll(async () => {
    const found = await admin?.query('SELECT datname FROM pg_database WHERE starts_with(datname, $1)', [name]);
    for (const { datname } of found?.rows ?? []) await admin?.query(`DROP DATABASE ${datname} WITH (FORCE)`);
    await admin?.end();
  });
  let stores = 0;
  return {
    newUrl: async () => {
      const database = `${name}_${++stores}`;
      await admin?.query(`CREATE DATABASE ${database}`);
      return Object.assign(new URL(url), { pathname: `/${database}` }).href;
    },
    // Other names of tables are as good as another database, and quicker.
    emptyStore: async (transportOptions = {}) => {
      const tables = { queue_tablename: `q${++stores}`, message_tablename: `m${stores}` };
      return serverParameters('postgresql', url, name, { ...tables, ...transportOptions });
    },
  };
}

/** The same on the MariaDB or the MySQL that all tests share. */
export function mysqlDatabases(server: 'mariadb' | 'mysql'): Databases {
  const name = `sql_${process.pid}`;
  const url = new URL(brokerUrl(server));
  let admin: mysql.Connection | undefined;
  const query = (text: string) =>
    new Promise<void>((resolve, reject) => {
      admin?.query(text, (error) => (error === null ? resolve() : reject(error)));
    });
  const made: string[] = [];
  const make = async (database: string) => {
    made.push(database);
    await query(`DROP DATABASE IF EXISTS ${database}`);
    await query(`CREATE DATABASE ${database}`);
  };
  beforeAll(async () => {
    admin = mysql.createConnection(url.href);
    await make(name);
  });
  afterAll(async () => {
    for (const database of made) await query(`DROP DATABASE ${database}`);
    admin?.end();
  });
  let stores = 0;
  return {
    newUrl: async () => {
      const database = `${name}_${++stores}`;
      await make(database);
      return Object.assign(new URL(url), { pathname: `/${database}` }).href;
    },
    emptyStore: async (transportOptions = {}) => {
      const tables = { queue_tablename: `q${++stores}`, message_tablename: `m${stores}` };
      return serverParameters('mysql', url, name, { ...tables, ...transportOptions });
    },
  };
}

/** A database, on that server, for the test files that this worker runs. */
export async function mysqlDatabaseOfWorker(url: string): Promise<string> {
  const name = `worker_${process.env.VITEST_POOL_ID}`;
  const connection = await mysqlClient.createConnection(url);
  await connection.query(`CREATE DATABASE IF NOT EXISTS ${name}`);
  await connection.end();
  return Object.assign(new URL(url), { pathname: `/${name}` }).href;
}

export function serverParameters(
  transport: string,
  { hostname, port, username, password }: URL,
  virtualHost: string,
  transportOptions: ConnectionParameters['transportOptions'],
): ConnectionParameters {
  return {
    transport,
    hostname,
    port: Number(port),
    userid: username,
    password,
    virtualHost,
    ssl: false,
    connectTimeout: 10_000,
    heartbeat: 0,
    loginMethod: undefined,
    transportOptions,
  };
}
