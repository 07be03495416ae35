/** Those of this process that use one database and one set of tables: a hint to them costs nothing. */
import type { Effects } from './context.js';

/** Somebody who wants to know what others did. */
export interface Neighbour {
  /** Queues that may have got messages; undefined: anything may have changed. */
  nudge(queueIds: ReadonlySet<number> | undefined): void;
  due(): void;
}

const neighbours = new Map<string, Set<Neighbour>>();

/** Joins those of a database. Returns how to leave. */
export function join(key: string, neighbour: Neighbour): () => void {
  const group = neighbours.get(key) ?? new Set();
  neighbours.set(key, group.add(neighbour));
  return () => {
    group.delete(neighbour);
    if (group.size === 0) neighbours.delete(key);
  };
}

/** Tells them all, whoever did it too. */
export function tell(key: string, { ready, changed, due }: Effects): void {
  const ids = changed ? undefined : new Set(ready);
  for (const neighbour of neighbours.get(key) ?? []) {
    if (changed || ready.size > 0) neighbour.nudge(ids);
    if (due) neighbour.due();
  }
}
