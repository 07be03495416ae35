import { realpathSync } from 'node:fs';
import { InvalidArgumentError } from '../../../errors.js';

/** The library by which this process has a file open, as the prototype of its databases. */
interface Use {
  readonly library: object;
  sessions: number;
}

const uses = new Map<string, Use>();

const HINT =
  'two copies of SQLite in one process do not see the locks of one another and would overwrite what the other has committed: choose one by sqlite_driver';

/**
 * Notes that this process has a file open, by the library of that database. Locks of POSIX are the process's own: two libraries in it hold the same
 * lock both (https://www.sqlite.org/howtocorrupt.html, 2.2.1).
 *
 * @returns What takes the note back.
 * @throws InvalidArgumentError INVALID_ARGUMENT when the file is open by another library.
 */
export function useFile(file: string, database: object): () => void {
  const path = pathOf(file);
  const use = uses.get(path) ?? { library: Object.getPrototypeOf(database) as object, sessions: 0 };
  if (!isOf(use.library, database)) {
    throw new InvalidArgumentError(
      `sqlite: another connection of this process has ${file} open by another library; ${HINT}`,
    );
  }
  uses.set(path, use);
  use.sessions++;
  return () => {
    use.sessions--;
    if (use.sessions === 0) uses.delete(path);
  };
}

/** @throws InvalidArgumentError INVALID_ARGUMENT when the file is open by another library than that of this database. */
export function checkLibrary(file: string, database: object): void {
  const use = uses.get(pathOf(file));
  if (use === undefined || isOf(use.library, database)) return;
  const text = `transaction: the database is of another library than the connection's own; ${HINT}`;
  throw new InvalidArgumentError(text, { outcome: 'not-sent' });
}

/** The file as all its names lead to it. */
export function pathOf(file: string): string {
  try {
    return realpathSync(file);
  } catch {
    return file;
  }
}

function isOf(library: object, database: object): boolean {
  return Object.prototype.isPrototypeOf.call(library, database);
}
