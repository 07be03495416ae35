import { describe, expect, it } from 'vitest';
import { layers, violations } from '../layers.ts';

const amqp = 'packages/amqp/src';
const wakame = 'packages/wakame/src';
const transports = `${wakame}/transports`;

const forbidden: [rule: string, file: string, specifier: string][] = [
  ['the codec opens a socket', `${amqp}/protocol/parser.ts`, 'node:net'],
  ['the codec reads a file', `${amqp}/protocol/parser.ts`, 'node:fs'],
  ['the codec looks a host up', `${amqp}/protocol/parser.ts`, 'node:dns/promises'],
  ['the codec speaks TLS, named without its scheme', `${amqp}/protocol/parser.ts`, 'tls'],
  ['the codec uses the client', `${amqp}/protocol/parser.ts`, '../connection.js'],
  ['@wakame/amqp uses Wakame', `${amqp}/connection.ts`, 'wakame'],
  ['@wakame/amqp uses a file of Wakame', `${amqp}/connection.ts`, '../../wakame/src/util/abort.js'],
  ['@wakame/amqp uses a package', `${amqp}/connection.ts`, 'debug'],
  ['utilities use a layer', `${wakame}/util/abort.ts`, '../connection/connection.js'],
  ['errors use the client', `${wakame}/errors.ts`, '@wakame/amqp'],
  ['errors use a utility', `${wakame}/errors.ts`, './util/abort.js'],
  ['the Channel contract uses its user', `${wakame}/transport/contract.ts`, '../connection/connection.js'],
  ['the Channel contract uses a transport', `${wakame}/transport/contract.ts`, '../transports/amqp/index.js'],
  ['the registry depends on a transport', `${wakame}/transport/registry.ts`, '../transports/amqp/index.js'],
  ['the wire formats do I/O', `${transports}/virtual/wire/envelope.ts`, 'node:fs'],
  ['the wire formats use the virtual transport', `${transports}/virtual/wire/envelope.ts`, '../channel.js'],
  ['the virtual transport uses a driver', `${transports}/virtual/channel.ts`, '../memory/index.js'],
  ['the virtual transport uses a layer above', `${transports}/virtual/channel.ts`, '../../messaging/message.js'],
  ['the virtual transport uses a package', `${transports}/virtual/channel.ts`, 'ioredis'],
  ['the amqp transport uses the virtual one', `${transports}/amqp/channel.ts`, '../virtual/channel.js'],
  ['the amqp transport uses a layer above', `${transports}/amqp/channel.ts`, '../../connection/connection.js'],
  ['a driver uses the virtual transport', `${transports}/memory/driver.ts`, '../virtual/channel.js'],
  ['a driver uses the Channel contract', `${transports}/memory/driver.ts`, '../../transport/contract.js'],
  ['a driver uses another driver', `${transports}/redis/driver.ts`, '../memory/queue.js'],
  ['a driver uses another driver from a subfolder', `${transports}/redis/scripts/take.ts`, '../../memory/queue.js'],
  ['a driver uses the connection', `${transports}/memory/driver.ts`, '../../connection/connection.js'],
  ['a driver uses messaging', `${transports}/memory/driver.ts`, '../../messaging/message.js'],
  ['a driver uses entities', `${transports}/memory/driver.ts`, '../../entities/queue.js'],
  ['a driver uses the public index', `${transports}/memory/driver.ts`, '../../index.js'],
  ['a driver uses the AMQP client', `${transports}/memory/driver.ts`, '@wakame/amqp'],
  ['a driver uses a package it does not declare', `${transports}/redis/driver.ts`, 'left-pad'],
  ['a driver’s transport uses another driver', `${transports}/redis/index.ts`, '../memory/index.js'],
  ['a driver’s transport uses the inside of the virtual one', `${transports}/redis/index.ts`, '../virtual/channel.js'],
  ['the connection uses the amqp transport', `${wakame}/connection/connection.ts`, '../transports/amqp/index.js'],
  ['the connection uses a driver', `${wakame}/connection/connection.ts`, '../transports/memory/index.js'],
  [
    'the connection uses the inside of the virtual transport',
    `${wakame}/connection/a.ts`,
    '../transports/virtual/channel.js',
  ],
  ['messaging uses the AMQP client', `${wakame}/messaging/producer.ts`, '@wakame/amqp'],
  ['messaging takes errors past Wakame’s own', `${wakame}/messaging/producer.ts`, '@wakame/amqp/errors'],
  ['messaging uses a broker’s library', `${wakame}/messaging/producer.ts`, 'ioredis'],
  ['the public index names a driver', `${wakame}/index.ts`, './transports/memory/index.js'],
  ['the public index names the AMQP client', `${wakame}/index.ts`, '@wakame/amqp'],
  ['the conformance suite names a driver', `${wakame}/testing/suite.ts`, '../transports/memory/index.js'],
  ['an example uses what is not published', 'examples/hello.ts', '../packages/wakame/src/index.ts'],
];

const permitted: [rule: string, file: string, specifier: string][] = [
  ['the codec uses itself', `${amqp}/protocol/parser.ts`, './tables.js'],
  ['the codec raises errors', `${amqp}/protocol/parser.ts`, '../errors.js'],
  ['the codec uses buffers', `${amqp}/protocol/parser.ts`, 'node:buffer'],
  ['the client uses the codec', `${amqp}/connection.ts`, './protocol/parser.js'],
  ['the client opens a socket', `${amqp}/socket.ts`, 'node:net'],
  ['errors go on with those of the client', `${wakame}/errors.ts`, '@wakame/amqp/errors'],
  [
    'serialization uses the JSON dialect',
    `${wakame}/serialization/json.ts`,
    '../transports/virtual/wire/json/index.js',
  ],
  ['the connection uses the registry', `${wakame}/connection/connection.ts`, '../transport/registry.js'],
  ['the connection uses entities', `${wakame}/connection/connection.ts`, '../entities/queue.js'],
  ['the public index exports the Driver contract', `${wakame}/index.ts`, './transports/virtual/driver.js'],
  [
    'the virtual transport implements the Channel contract',
    `${transports}/virtual/a.ts`,
    '../../transport/contract.js',
  ],
  ['the virtual transport uses the wire formats', `${transports}/virtual/a.ts`, './wire/envelope.js'],
  ['the amqp transport uses the AMQP client', `${transports}/amqp/a.ts`, '@wakame/amqp'],
  ['a driver implements the Driver contract', `${transports}/memory/a.ts`, '../virtual/driver.js'],
  ['a driver uses the wire formats', `${transports}/redis/scripts/a.ts`, '../../virtual/wire/envelope.js'],
  ['a driver uses itself', `${transports}/redis/scripts/a.ts`, '../keys.js'],
  ['a driver becomes a transport', `${transports}/memory/index.ts`, '../virtual/index.js'],
  ['an example uses the packages', 'examples/demo/main.ts', 'wakame'],
  ['an example uses its own files', 'examples/demo/main.ts', './crew.ts'],
];

const said = (file: string, source: string) =>
  violations(file, source).map(({ line, message }) => `${line}: ${message}`);

describe('the layers', () => {
  it.each(forbidden)('forbid that %s', (_, file, specifier) => {
    expect(said(file, `import { a } from '${specifier}';`)).toEqual([expect.stringContaining('must not import')]);
  });

  it.each(permitted)('permit that %s', (_, file, specifier) => {
    expect(said(file, `import { a } from '${specifier}';`)).toEqual([]);
  });

  it('see every form of import', () => {
    const source = [
      `import '../memory/a.js';`,
      `import type { A } from '../memory/b.js';`,
      `export { c } from '../memory/c.js';`,
      `export * from '../memory/d.js';`,
      `const e = await import('../memory/e.js');`,
      `type F = import('../memory/f.js').F;`,
      `const text = "import '../memory/g.js'"; // import '../memory/h.js'`,
    ].join('\n');
    const found = violations(`${transports}/redis/driver.ts`, source);
    expect(found.map(({ line, message }) => `${line} ${/memory\/\w/.exec(message)?.[0]}`)).toEqual([
      '1 memory/a',
      '2 memory/b',
      '3 memory/c',
      '4 memory/d',
      '5 memory/e',
      '6 memory/f',
    ]);
  });

  it('let the registry load transports, and only by import()', () => {
    const registry = `${wakame}/transport/registry.ts`;
    expect(said(registry, `const a = () => import('../transports/memory/index.js');`)).toEqual([]);
    expect(said(registry, `const a = () => import('../transports/memory/queue.js');`)).toHaveLength(1);
    expect(said(`${wakame}/connection/a.ts`, `await import('../transports/memory/index.js');`)).toHaveLength(1);
  });

  it('let nobody choose a module by a computed name', () => {
    expect(said(`${wakame}/transport/registry.ts`, 'const load = (name: string) => import(name);')).toEqual([
      expect.stringContaining('computed'),
    ]);
    expect(said(`${wakame}/transport/registry.ts`, "const load = (name: string) => import('./' + name);")).toHaveLength(
      1,
    );
  });

  it('ask for a row when a package joins the workspace', () => {
    expect(said('packages/new/src/index.ts', '')).toEqual([expect.stringContaining('belongs to no layer')]);
  });

  it('say why', () => {
    for (const { why } of layers) expect(why).toMatch(/^\S.*\S$/);
    expect(said(`${transports}/redis/driver.ts`, `\n\nimport '../memory/a.js';`)).toEqual([
      expect.stringMatching(/^3: must not import packages\/wakame\/src\/transports\/memory\/a\.ts: a driver knows/),
    ]);
  });
});
