import { join } from 'node:path';
import { run } from '../lib/command.ts';

/** Half a minute of each, ten at scale 50. The seed is fixed, so that a run that fails can be looked at again. */
const stands = ['amqp'];
const seed = 4;

/** Workers, faults, and an account of every message; see chaos/main.ts. */
export async function chaos(): Promise<void> {
  const minutes = Math.min(10, 0.5 * Number(process.env.WAKAME_TEST_SCALE ?? 1));
  for (const stand of stands) {
    await run('node', [join('chaos', 'main.ts'), stand, '--minutes', String(minutes), '--seed', String(seed)]);
  }
}
