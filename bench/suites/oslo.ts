/** RPC as OpenStack has it: calls to a server in another process, over RabbitMQ. */
import { fileURLToPath } from 'node:url';
import { make, peerPython, peerVersion } from '../../scripts/lib/peers/index.ts';
import type { Case } from '../lib/run.ts';
import type { Suite, Times, Wanted } from './suite.ts';

const program = fileURLToPath(new URL('../oslo/measure.ts', import.meta.url));
const python = fileURLToPath(new URL('../oslo/measure.py', import.meta.url));

export const oslo: Suite = {
  name: 'oslo',
  adapters: ['bare', 'wakame-oslo', 'oslo.messaging'],
  titles: [
    ['calls-64', 'calls, 64 outstanding, 100 B'],
    ['calls-1', 'calls, one at a time, 100 B'],
  ],
};

export const osloVersion = `oslo.messaging ${peerVersion('oslo', 'oslo.messaging')}`;

/** Makes the Python environment unless it stands. */
export async function fetchOslo(): Promise<void> {
  await make('oslo');
}

interface Options extends Times {
  readonly url: string;
  readonly wanted: Wanted;
}

export function osloCases({ url, wanted, warmUp, measure }: Options): Case[] {
  const times = [warmUp, measure].map(String);
  return oslo.titles.flatMap(([scenario]) =>
    oslo.adapters
      .filter((adapter) => wanted(scenario, adapter))
      .map((adapter) => {
        const command =
          adapter === 'oslo.messaging'
            ? [peerPython('oslo'), python, scenario, url, ...times]
            : [process.execPath, '--expose-gc', program, adapter, scenario, url, ...times];
        return { suite: oslo.name, scenario, adapter, command };
      }),
  );
}
