/**
 * Which module may import which: the arrows of ARCHITECTURE.md as a check. Every import is resolved, and has to be allowed by the
 * row of the table that its file belongs to. (Biome's own rule compares the text of an import with patterns, and the tools made for
 * this need the JavaScript API that TypeScript 7 does not have.)
 */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { join, posix } from 'node:path';
import { parseSync, Visitor } from 'vite';
import { root } from './setup.mjs';

/**
 * One layer. Files and folders are named from the root of the repository, folders with a `/` at the end; `*` stands for one part
 * of a path.
 */
interface Layer {
  readonly files: string;
  /**
   * Files and folders (`./`: the folder of the importing file), modules of Node (`node:*`: all), packages (`declared`: those in the
   * package.json of the importing file, less our own; `any`: all). `!` takes back what stands before it. A layer that is a folder
   * may import from itself.
   */
  readonly mayImport: readonly string[];
  /** The same for `import()` alone. */
  readonly mayLoad?: readonly string[];
  readonly why: string;
}

const amqp = 'packages/amqp/src/';
const wakame = 'packages/wakame/src/';
/** Modules of Node that compute and do nothing else. */
const pure = [
  'node:assert/strict',
  'node:buffer',
  'node:crypto',
  'node:string_decoder',
  'node:util',
  'node:util/types',
];
/** What every layer of wakame stands on. */
const ground = [`${wakame}util/`, `${wakame}errors.ts`, 'node:*'];
const channelContract = `${wakame}transport/`;
/** The words of AMQP that both contracts use: properties, arguments, deliveries. */
const vocabulary = `${wakame}transport/message.ts`;
const virtual = `${wakame}transports/virtual/`;
const driverContract = `${virtual}driver.ts`;
const wire = `${virtual}wire/`;
const otel = `${wakame}otel/`;
/** The layer above messaging and patterns. */
const pidbox = `${wakame}pidbox/`;

/** A file belongs to the first row that names it. */
export const layers: readonly Layer[] = [
  {
    files: `${amqp}protocol/`,
    mayImport: [`${amqp}errors.ts`, ...pure],
    why: 'the codec is pure: no sockets, files or timers, and nothing of the client that is built on it',
  },
  { files: amqp, mayImport: ['node:*'], why: '@wakame/amqp has no dependencies and knows nothing of Wakame' },
  {
    files: `${wakame}errors.ts`,
    mayImport: ['@wakame/amqp/errors'],
    why: 'the tree of errors goes on with the one of @wakame/amqp, and stands on nothing else',
  },
  { files: `${wakame}util/`, mayImport: [`${wakame}errors.ts`, 'node:*'], why: 'utilities know no layer' },
  {
    files: `${wakame}transport/registry.ts`,
    mayImport: [channelContract, ...ground],
    mayLoad: [`${wakame}transports/*/index.ts`],
    why: 'the registry loads a transport when its scheme is first used, and depends on none',
  },
  {
    files: channelContract,
    mayImport: ground,
    why: 'the Channel contract knows neither those who implement it nor those who use it',
  },
  {
    files: wire,
    mayImport: [`${wakame}util/`, `${wakame}errors.ts`, vocabulary, driverContract, ...pure],
    why: 'the wire formats are pure: every layer and every driver may use them',
  },
  {
    files: virtual,
    mayImport: [channelContract, ...ground],
    why: 'the virtual transport lies between the Channel contract and the Driver contract: it knows no driver and no layer above',
  },
  {
    files: `${wakame}transports/amqp/`,
    mayImport: ['@wakame/amqp', channelContract, wire, ...ground],
    why: 'the amqp transport puts @wakame/amqp behind the Channel contract: it knows no other transport and no layer above',
  },
  {
    files: `${wakame}transports/*/index.ts`,
    mayImport: [
      './',
      `${virtual}index.ts`,
      driverContract,
      wire,
      `${channelContract}contract.ts`,
      vocabulary,
      ...ground,
      'declared',
    ],
    why: 'where a driver is made a transport it meets the virtual transport, and still no other driver and no layer above',
  },
  {
    files: `${wakame}transports/*/`,
    mayImport: [driverContract, wire, vocabulary, ...ground, 'declared'],
    why: 'a driver knows the Driver contract, the wire formats and its store: no other driver and no layer above',
  },
  {
    files: `${wakame}index.ts`,
    mayImport: [wakame, `!${wakame}transports/`, `${virtual}index.ts`, driverContract, wire],
    why: 'what is public is either contract or lies above the transports',
  },
  {
    files: pidbox,
    mayImport: [wakame, `!${wakame}transports/`, `!${wakame}index.ts`, 'node:*'],
    why: 'mailboxes are built on what everybody has: messaging, patterns, and what those stand on',
  },
  {
    files: `${wakame}testing/`,
    mayImport: [wakame, `!${wakame}transports/`, driverContract, wire, 'node:*'],
    why: 'the conformance suite uses the library as its readers do, and no transport by name',
  },
  {
    files: otel,
    mayImport: [
      `${wakame}tracing.ts`,
      `${wakame}messaging/`,
      vocabulary,
      `${wakame}util/`,
      `${wakame}errors.ts`,
      '@opentelemetry/api',
    ],
    why: 'the bridge to OpenTelemetry listens to what tracing tells, and nothing else of the library knows of it',
  },
  {
    files: wakame,
    mayImport: [`!${wakame}transports/`, `!${pidbox}`, `!${otel}`, driverContract, wire, 'node:*', 'yaml'],
    why: 'above transports/ no file names a broker',
  },
  {
    files: 'packages/cli/src/',
    mayImport: ['wakame', 'node:*', 'declared'],
    why: 'the command line is an application: it uses the package as it is published',
  },
  {
    files: 'packages/oslo/src/',
    mayImport: ['wakame', 'wakame/util', 'wakame/wire', 'node:*'],
    why: '@wakame/oslo is built on what wakame publishes, and names no transport',
  },
  {
    files: 'chaos/account/',
    mayImport: ['chaos/ledger/records.ts', ...pure],
    why: 'the account is a function of the log and of nothing else',
  },
  {
    files: 'chaos/workers/',
    mayImport: ['wakame', 'chaos/ledger/', 'chaos/random.ts', 'node:*'],
    why: 'the workers of a chaos run are applications: they use the package as it is published',
  },
  {
    files: 'chaos/faults/',
    mayImport: ['chaos/crew/', 'chaos/ledger/', 'chaos/schedule.ts', 'scripts/', 'node:*'],
    why: 'a kind of fault knows servers, links and workers, and not the stand that it is used on',
  },
  {
    files: 'chaos/',
    mayImport: ['scripts/', 'node:*', 'vitest', 'wakame'],
    why: 'a chaos run uses the published package, and what starts servers and gets in between',
  },
  { files: 'examples/', mayImport: ['node:*', 'any'], why: 'examples use the published packages, as their readers do' },
];

/** An import that no row allows. */
export interface Violation {
  readonly file: string;
  readonly line: number;
  readonly message: string;
}

interface Import {
  /** `undefined`: not a plain string. */
  readonly specifier: string | undefined;
  readonly dynamic: boolean;
  readonly offset: number;
}

/** Checks every source file of the repository. */
export function checkLayers(): Violation[] {
  const files = globSync(['packages/*/src/**/*.ts', 'chaos/**/*.ts', 'examples/**/*.{ts,mjs,js}'], { cwd: root });
  return files.sort().flatMap((file) => violations(file, readFileSync(join(root, file), 'utf8')));
}

/**
 * Checks one file.
 *
 * @param file Its path from the root of the repository; the file need not exist.
 */
export function violations(file: string, source: string): Violation[] {
  const layer = layers.find((row) => matches(row.files, file));
  // A package that joins the workspace has to say in the table what it is.
  if (layer === undefined)
    return [{ file, line: 1, message: 'belongs to no layer: scripts/layers.ts needs a row for it' }];
  return importsOf(file, source).flatMap(({ specifier, dynamic, offset }) => {
    const message = problem(layer, file, specifier, dynamic);
    return message === undefined ? [] : [{ file, line: source.slice(0, offset).split('\n').length, message }];
  });
}

function problem(layer: Layer, file: string, specifier: string | undefined, dynamic: boolean): string | undefined {
  if (specifier === undefined)
    return 'must not choose a module by a name that is computed: import() takes a plain string';
  const target = resolveImport(file, specifier);
  const rules = [...ownFolder(layer, file), ...layer.mayImport, ...(dynamic ? (layer.mayLoad ?? []) : [])];
  let allowed = false;
  for (const rule of rules) {
    if (covers(rule.replace(/^!/, ''), file, target)) allowed = !rule.startsWith('!');
  }
  return allowed ? undefined : `must not import ${target}: ${layer.why}`;
}

/** A path from the root for a file, `node:…` for a module of Node, else the name as it stands. */
function resolveImport(file: string, specifier: string): string {
  if (isBuiltin(specifier)) return specifier.startsWith('node:') ? specifier : `node:${specifier}`;
  if (!specifier.startsWith('.')) return specifier;
  return posix.join(posix.dirname(file), specifier).replace(/\.js$/, '.ts');
}

/** The folder that the layer is: of `transports/*` the one in which the file lies. */
function ownFolder(layer: Layer, file: string): string[] {
  return layer.files.endsWith('/') ? [pattern(layer.files).exec(file)?.[0] ?? ''] : [];
}

function covers(rule: string, file: string, target: string): boolean {
  const isPackage = !target.startsWith('node:') && !/^(packages|chaos|examples|scripts)\//.test(target);
  if (rule === 'any') return isPackage;
  if (rule === 'declared') return isPackage && declaredBy(file).has(packageName(target));
  if (rule === 'node:*') return target.startsWith('node:');
  if (rule === './') return target.startsWith(`${posix.dirname(file)}/`);
  return matches(rule, target);
}

function matches(rule: string, path: string): boolean {
  return pattern(rule).test(path);
}

function pattern(rule: string): RegExp {
  const text = rule.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '[^/]+');
  return new RegExp(`^${text}${rule.endsWith('/') ? '' : '$'}`);
}

function packageName(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

/** What the package of a file needs of others at run time: its dependencies, and the optional peers that a user installs. */
function declaredBy(file: string): Set<string> {
  const manifest = join(root, ...file.split('/').slice(0, 2), 'package.json');
  if (!existsSync(manifest)) return new Set();
  const { dependencies, peerDependencies } = JSON.parse(readFileSync(manifest, 'utf8')) as Record<string, object>;
  return new Set(
    Object.keys({ ...dependencies, ...peerDependencies }).filter((name) => !/^(@wakame\/|wakame$)/.test(name)),
  );
}

/** Every form of import, types included. */
function importsOf(file: string, source: string): Import[] {
  const found: Import[] = [];
  const add = (node: { start: number } | null | undefined, dynamic = false) => {
    if (node == null) return;
    const { value } = node as { value?: unknown };
    found.push({ specifier: typeof value === 'string' ? value : undefined, dynamic, offset: node.start });
  };
  const { program, errors } = parseSync(file, source);
  if (errors.length > 0) throw new Error(`${file}: ${errors[0]?.message}`);
  new Visitor({
    ImportDeclaration: (node) => add(node.source),
    ExportNamedDeclaration: (node) => add(node.source),
    ExportAllDeclaration: (node) => add(node.source),
    ImportExpression: (node) => add(node.source, true),
    TSImportType: (node) => add(node.source),
    TSExternalModuleReference: (node) => add(node.expression),
  }).visit(program);
  return found;
}
