/** The workers that run on Node: started as an application would, with the built packages. */
import { join } from 'node:path';
import { root } from '../../scripts/setup.mjs';
import type { Place } from '../crew/place.ts';

type TaskOf<R extends Place['role']> = Extract<Place, { role: R }>['task'];

const program = (file: string) =>
  ({ language: 'node', command: [process.execPath, join(root, 'chaos', 'workers', file)] }) as const;

export function nodeProducer(name: string, task: TaskOf<'producer'>): Place {
  return { name, role: 'producer', ...program('producer.ts'), task };
}

export function nodeConsumer(name: string, task: TaskOf<'consumer'>): Place {
  return { name, role: 'consumer', ...program('consumer.ts'), task };
}
