import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { namesIn, removed, statOf, touched } from './files.js';

/** Who is alive: a file for each holder, whose time is that of the last sign of life. */
export class Holders {
  readonly #folder: string;
  readonly #lease: number;

  constructor(folder: string, lease: number) {
    this.#folder = folder;
    this.#lease = lease;
  }

  /** @param name For people. */
  live(id: string, name: string): void {
    const file = join(this.#folder, id);
    if (!touched(file)) writeFileSync(file, name);
  }

  die(id: string): void {
    removed(join(this.#folder, id));
  }

  /** Those that gave no sign of life for the time of a lease. */
  dead(): readonly string[] {
    return namesIn(this.#folder).filter((id) => {
      const found = statOf(join(this.#folder, id));
      return found !== undefined && Date.now() - found.mtimeMs > this.#lease;
    });
  }
}
