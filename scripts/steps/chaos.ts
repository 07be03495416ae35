import { join } from 'node:path';
import { run } from '../lib/command.ts';

/** Fixed, so that a run that fails can be looked at again. */
const seed = 4;

/**
 * Workers, faults, and an account of every message; see chaos/main.ts. Half a minute of each stand, ten at scale 50; the cluster, which takes
 * long to start, only then.
 */
export async function chaos(): Promise<void> {
  const scale = Number(process.env.WAKAME_TEST_SCALE ?? 1);
  const minutes = Math.min(10, 0.5 * scale);
  for (const stand of scale < 50 ? ['amqp', 'redis'] : ['amqp', 'redis', 'cluster']) {
    await run('node', [join('chaos', 'main.ts'), stand, '--minutes', String(minutes), '--seed', String(seed)]);
  }
}
