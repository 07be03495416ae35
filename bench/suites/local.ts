/** What needs no broker: `memory://`, and the envelope of the virtual transports. */
import { fileURLToPath } from 'node:url';
import { kombuCommand } from '../lib/kombu.ts';
import type { Case } from '../lib/run.ts';
import type { Suite, Times, Wanted } from './suite.ts';

const program = fileURLToPath(new URL('../local/measure.ts', import.meta.url));

const titles = {
  'memory-cycle': 'memory://: publish, consume and ack a small JSON object',
  'envelope-encode-100': 'envelope, encode 100 B',
  'envelope-decode-100': 'envelope, decode 100 B',
  'envelope-encode-64k': 'envelope, encode 64 KiB',
  'envelope-decode-64k': 'envelope, decode 64 KiB',
} as const;

export const local: Suite = {
  name: 'one process',
  adapters: ['plain', 'wakame', 'kombu'],
  titles: Object.entries(titles),
};

export function localCases(times: Times, wanted: Wanted): Case[] {
  return Object.keys(titles).flatMap((scenario): Case[] =>
    [scenario === 'memory-cycle' ? 'kombu' : 'plain', 'wakame']
      .filter((adapter) => wanted(scenario, adapter))
      .map((adapter) => ({ suite: local.name, scenario, adapter, command: command(adapter, scenario, times) })),
  );
}

function command(adapter: string, scenario: string, { warmUp, measure }: Times): readonly string[] {
  if (adapter === 'kombu') return kombuCommand(scenario, 'memory://', { warmUp, measure, most: 1e12 });
  return [process.execPath, '--expose-gc', program, adapter, scenario, String(warmUp), String(measure)];
}
