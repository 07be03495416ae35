import { join } from 'node:path';
import { DecodeError } from '../../errors.js';
import { parseJson, writeJson } from '../virtual/wire/index.js';
import { flushFolder, namesIn, removed, replace, stateOf, textOf } from './files.js';
import { recordFile } from './names.js';

/** Records remembered of each kind. */
const MOST_KNOWN = 10_000;

/** Descriptions in a folder, a file for each, by the names of what they describe. Only who has the lock changes them. */
export class Records<T extends { readonly name: string }> {
  readonly #folder: string;
  readonly #temp: string;
  readonly #flush: boolean;
  readonly #known = new Map<string, { readonly state: string; readonly record: T }>();

  constructor(folder: string, temp: string, flush: boolean) {
    this.#folder = folder;
    this.#temp = temp;
    this.#flush = flush;
  }

  /** What stands, as far as a look at the file's times tells: for those that change nothing. */
  glance(name: string): T | undefined {
    const state = stateOf(this.path(name));
    if (state === undefined) {
      this.#known.delete(name);
      return undefined;
    }
    const known = this.#known.get(name);
    if (known?.state === state) return known.record;
    const record = this.read(name);
    if (this.#known.size >= MOST_KNOWN) this.#known.clear();
    if (record !== undefined) this.#known.set(name, { state, record });
    return record;
  }

  read(name: string): T | undefined {
    return this.#readFile(recordFile(name));
  }

  all(): readonly T[] {
    return namesIn(this.#folder).flatMap((file) => this.#readFile(file) ?? []);
  }

  async write(record: T): Promise<void> {
    await replace(this.path(record.name), this.#temp, writeJson(record, { typed: true }), this.#flush);
    if (this.#flush) await flushFolder(this.#folder);
  }

  remove(name: string): boolean {
    this.#known.delete(name);
    return removed(this.path(name));
  }

  path(name: string): string {
    return join(this.#folder, recordFile(name));
  }

  #readFile(file: string): T | undefined {
    const text = textOf(join(this.#folder, file));
    if (text === undefined) return undefined;
    try {
      return parseJson(text) as T;
    } catch (cause) {
      throw new DecodeError(`filesystem: ${join(this.#folder, file)} is damaged`, { cause });
    }
  }
}
