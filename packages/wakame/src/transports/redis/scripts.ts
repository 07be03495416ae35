import { createHash } from 'node:crypto';
import type { Link } from './link.js';
import { COMMON, constants, type ScriptConstants } from './lua/common.js';
import * as messages from './lua/messages.js';
import * as queues from './lua/queues.js';
import { ROUTING } from './lua/routing.js';
import * as sweep from './lua/sweep.js';
import * as table from './lua/table.js';

const SOURCES = { ...messages, ...queues, ...sweep, ...table };
export type ScriptName = keyof typeof SOURCES;

interface Script {
  readonly text: string;
  readonly sha: string;
}

/** The scripts for one database, with its names of keys. */
export class Scripts {
  readonly #scripts: ReadonlyMap<ScriptName, Script>;

  constructor(names: ScriptConstants) {
    const head = constants(names);
    const all = Object.entries(SOURCES).map(([name, body]) => {
      const text = `${head}${COMMON}${ROUTING}${body}`;
      return [name as ScriptName, { text, sha: createHash('sha1').update(text).digest('hex') }] as const;
    });
    this.#scripts = new Map(all);
  }

  /** Makes sure that the server knows them, so that none has to be sent along later, out of turn. */
  async load(link: Link): Promise<void> {
    const scripts = [...this.#scripts.values()];
    const known = (await link.call('SCRIPT', 'EXISTS', ...scripts.map(({ sha }) => sha))) as number[];
    const missing = scripts.filter((_, i) => Number(known[i]) !== 1);
    await Promise.all(missing.map(({ text }) => link.call('SCRIPT', 'LOAD', text)));
  }

  /** One round trip; two when somebody told the server to forget its scripts. */
  run(
    link: Link,
    name: ScriptName,
    args: readonly (string | number)[],
    keys: readonly string[] = [],
  ): Promise<unknown> {
    const script = this.#scripts.get(name) as Script;
    return link.call('EVALSHA', script.sha, keys.length, ...keys, ...args).catch((error: unknown) => {
      if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error;
      return link.call('EVAL', script.text, keys.length, ...keys, ...args);
    });
  }
}
