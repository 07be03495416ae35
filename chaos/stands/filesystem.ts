/** Folders of files. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type LocalStore, openLocal } from './local.ts';
import type { Stand, StandOptions } from './stand.ts';

export function openFilesystem(options: StandOptions): Promise<Stand> {
  return openLocal(options, store);
}

function store(folder: string): LocalStore {
  const data = join(folder, 'data');
  const control = join(folder, 'control');
  mkdirSync(data);
  const folders = { data_folder_in: data, data_folder_out: data, control_folder: control };
  return {
    url: 'filesystem://',
    // In seconds. Short, so that a lock is taken for a loss, and what was held by the dead comes back, within the patience of the account.
    transportOptions: { ...folders, lease: 6, read_timeout: 3 },
    python: { url: 'filesystem://', transportOptions: folders },
    hold: async () => {
      const holder = spawn('flock', [join(control, 'wakame', 'lock'), '-c', 'echo held; cat'], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      await once(holder.stdout, 'data');
      return () => holder.stdin.end();
    },
  };
}
