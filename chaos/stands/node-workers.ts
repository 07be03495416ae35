/** How the workers that run on Node are started: as an application would, with the built packages. */
import { join } from 'node:path';
import { root } from '../../scripts/setup.mjs';

export const node = {
  producer: { language: 'node', command: [process.execPath, join(root, 'chaos', 'workers', 'producer.ts')] },
  consumer: { language: 'node', command: [process.execPath, join(root, 'chaos', 'workers', 'consumer.ts')] },
} as const;
