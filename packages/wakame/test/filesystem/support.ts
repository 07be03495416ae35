/** What tests of the filesystem transport share. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect } from 'vitest';
import type { ConnectionParameters } from '../../src/transport/contract.js';

/** Looks until it is as expected. */
export function eventually<T>(look: () => T): ReturnType<typeof expect.poll<T>> {
  return expect.poll(look, { timeout: 10_000, interval: 10 });
}

/** A folder that goes with the test file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'wakame-files-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** One folder for messages in both directions, and one for control, in a new folder of that name. */
export function storeOptions(folder: string): {
  data_folder_in: string;
  data_folder_out: string;
  control_folder: string;
} {
  const data = join(folder, 'data');
  mkdirSync(data, { recursive: true });
  return { data_folder_in: data, data_folder_out: data, control_folder: join(folder, 'control') };
}

/** What a Connection would hand to the driver. */
export function filesystemParameters(transportOptions: ConnectionParameters['transportOptions']): ConnectionParameters {
  return {
    ...{ transport: 'filesystem', hostname: undefined, port: undefined, userid: undefined, password: undefined },
    ...{ virtualHost: undefined, ssl: false, connectTimeout: 5000, heartbeat: 0, loginMethod: undefined },
    transportOptions,
  };
}
