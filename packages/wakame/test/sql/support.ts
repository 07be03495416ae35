/** What tests of the sql transport share. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
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
