import { join } from 'node:path';
import { run } from '../lib/command.ts';

/** Fixed, so that a run that fails can be looked at again. */
const seed = 4;

/** Stands and how many minutes each has at scale 1; the full run alone has all of them. */
const stands = { amqp: 0.5, redis: 0.5, sqlite: 0.25, postgresql: 0, filesystem: 0.25, cluster: 0 };

/** Workers, faults, and an account of every message; see chaos/main.ts. Half a minute of a stand or less, ten from scale 50 on. */
export async function chaos(): Promise<void> {
  const scale = Number(process.env.WAKAME_TEST_SCALE ?? 1);
  for (const [stand, share] of Object.entries(stands)) {
    const minutes = scale < 50 ? Math.min(10, share * scale) : 10;
    if (minutes === 0) continue;
    await run('node', [join('chaos', 'main.ts'), stand, '--minutes', String(minutes), '--seed', String(seed)]);
  }
}
