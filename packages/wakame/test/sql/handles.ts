/** The handles that applications have their own transactions on. */
import { DatabaseSync } from 'node:sqlite';
import BetterSqlite from 'better-sqlite3';
import mysql from 'mysql2/promise';
import pg from 'pg';

export type DatabaseName = 'node:sqlite' | 'better-sqlite3' | 'pg' | 'mysql2';

export interface Handle {
  /** What `publish` is given. */
  readonly transaction: unknown;
  run(statement: string): Promise<void>;
  /** The first column of each row. */
  column(query: string): Promise<unknown[]>;
  close(): Promise<void>;
}

/** @param url As a Connection takes it. */
export function openHandle(name: DatabaseName, url: string): Promise<Handle> {
  if (name === 'mysql2') return openMysql(url);
  return name === 'pg' ? openPostgresql(url) : openSqlite(name, url);
}

async function openSqlite(name: DatabaseName, url: string): Promise<Handle> {
  const file = decodeURIComponent(url.replace(/^sqlite:/, '').replace(/\?.*/, ''));
  const database = name === 'node:sqlite' ? new DatabaseSync(file, { timeout: 5000 }) : new BetterSqlite(file);
  return {
    transaction: database,
    run: async (statement) => void database.exec(statement),
    column: async (query) => (database.prepare(query).all() as object[]).map((row) => Object.values(row)[0]),
    close: async () => void database.close(),
  };
}

async function openPostgresql(url: string): Promise<Handle> {
  const client = new pg.Client(url);
  await client.connect();
  return {
    transaction: client,
    run: async (statement) => void (await client.query(statement)),
    column: async (query) => (await client.query(query)).rows.map((row) => Object.values(row as object)[0]),
    close: () => client.end(),
  };
}

async function openMysql(url: string): Promise<Handle> {
  const connection = await mysql.createConnection(url);
  return {
    transaction: connection,
    run: async (statement) => void (await connection.query(statement)),
    column: async (query) => {
      const [rows] = await connection.query(query);
      return (rows as object[]).map((row) => Object.values(row)[0]);
    },
    close: () => connection.end(),
  };
}
