/** The workers that are Kombu's: real Python processes. */
import { join } from 'node:path';
import { make, peerPython } from '../../scripts/lib/peers/index.ts';
import { root } from '../../scripts/setup.mjs';

/** Makes the Python environment that they run in, unless it is there. */
export async function pythonWorkers() {
  await make('current');
  const python = peerPython('current');
  const file = (name: string) => join(root, 'chaos', 'workers', 'python', name);
  return {
    producer: { language: 'python', command: [python, file('producer.py')] },
    consumer: { language: 'python', command: [python, file('consumer.py')] },
  } as const;
}
