import { createRequire } from 'node:module';
import type * as Yaml from 'yaml';
import { DecodeError } from '../errors.js';
import { PyDate, PyDateTime } from '../transports/virtual/wire/json/datetime.js';
import { ValueWriter, type WriterStyle } from '../transports/virtual/wire/json/writer.js';
import { asBuffer, decodeUtf8 } from '../util/utf8.js';
import type { Serializer } from './serializer.js';
import { pythonTags } from './yaml-tags.js';

/**
 * YAML as PyYAML's `safe_load` and `safe_dump` have it: YAML 1.1, no tag that makes objects. Reading is bounded in aliases and
 * depth. Writing uses YAML's flow style with every string quoted, so that no reader takes `no`, `1:30` or `=` for
 * something else.
 */
export const yamlSerializer: Serializer = {
  name: 'yaml',
  contentType: 'application/x-yaml',
  contentEncoding: 'utf-8',
  encode: (value) => Buffer.from(`${new ValueWriter(STYLE).write(value)}\n`),
  decode: (body) => parseYaml(body),
};

const STYLE: WriterStyle = {
  name: 'YAML',
  // What a YAML reader refuses or folds when it stands bare: control characters, line separators, byte order marks.
  text: (value) =>
    JSON.stringify(value).replace(/[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]/g, (char) => {
      return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
    }),
  number(value) {
    if (Number.isNaN(value)) return '.nan';
    if (!Number.isFinite(value)) return value > 0 ? '.inf' : '-.inf';
    // YAML 1.1 has no number like 1e+21: there must be a point.
    return String(value).replace(/^(-?\d+)e/, '$1.0e');
  },
  special(value) {
    if (value instanceof PyDateTime) return value.isoformat();
    if (value instanceof Date) return value.toISOString().replace('Z', '+00:00');
    if (value instanceof PyDate) return value.toString();
    return value instanceof Uint8Array ? `!!binary "${asBuffer(value).toString('base64')}"` : undefined;
  },
  comma: ', ',
  colon: ': ',
  bytesHint: '',
};

let yaml: typeof Yaml | undefined;

/** The library takes as long to load as the rest of us: only those who read YAML wait for it. */
function loadYaml(): typeof Yaml {
  yaml ??= createRequire(import.meta.url)('yaml') as typeof Yaml;
  return yaml;
}

/** How often one alias may multiply what it stands for. */
const MAX_ALIASES = 100;
const MAX_DEPTH = 512;

function parseYaml(body: Uint8Array): unknown {
  const text = decodeUtf8(body);
  if (text === undefined) throw new DecodeError('YAML that is not utf-8');
  const library = loadYaml();
  const document = library.parseDocument(text, {
    version: '1.1',
    schema: 'failsafe',
    customTags: pythonTags(library),
    merge: true,
    prettyErrors: false,
    logLevel: 'error',
    // The last of equal keys counts, as in PyYAML.
    uniqueKeys: false,
  });
  // A warning is of a tag that nobody knows, such as those of Python objects.
  const problem = document.errors[0] ?? document.warnings[0];
  if (problem !== undefined) throw new DecodeError(`YAML: ${problem.message}`, { cause: problem });
  return new Simplifier().simplify(document.toJS({ mapAsMap: true, maxAliasCount: MAX_ALIASES }), MAX_DEPTH);
}

/** Maps become objects, whose keys are text, as Python's `json` makes them. What aliases share stays shared. */
class Simplifier {
  readonly #done = new Map<object, unknown>();
  readonly #around = new Set<object>();

  simplify(value: unknown, levels: number): unknown {
    if (typeof value !== 'object' || value === null) return value;
    if (value instanceof Buffer) return new Uint8Array(value);
    if (!Array.isArray(value) && !(value instanceof Map) && !(value instanceof Set)) return value;
    if (this.#done.has(value)) return this.#done.get(value);
    // Aliases can tie a value to itself, which nobody who walks it later would notice in time.
    if (this.#around.has(value)) throw new DecodeError('YAML: a value that contains itself');
    if (levels === 0) throw new DecodeError('YAML: nested too deep');
    this.#around.add(value);
    const simple = this.#parts(value, levels - 1);
    this.#around.delete(value);
    this.#done.set(value, simple);
    return simple;
  }

  #parts(value: unknown[] | Map<unknown, unknown> | Set<unknown>, levels: number): unknown {
    const simplify = (part: unknown) => this.simplify(part, levels);
    if (Array.isArray(value)) return value.map(simplify);
    if (value instanceof Set) return new Set(Array.from(value, simplify));
    return Object.fromEntries(Array.from(value, ([key, member]) => [keyText(key), simplify(member)]));
  }
}

function keyText(key: unknown): string {
  const isCompound = Array.isArray(key) || key instanceof Map || key instanceof Set || key instanceof Uint8Array;
  if (isCompound) throw new DecodeError('YAML: a key that is no scalar');
  return String(key);
}
