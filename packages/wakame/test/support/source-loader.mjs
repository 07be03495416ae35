/**
 * For `node --import`: runs the sources of this workspace without a build, as vitest does: `./x.js` is `./x.ts`, `wakame` and
 * `@wakame/amqp` are their sources, and the compiler beneath vite removes the types.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire, registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';

const { transformSync } = createRequire(createRequire(import.meta.url).resolve('vite'))('rolldown/utils');

const packages = new URL('../../../', import.meta.url);
const names = new Map([
  ['@wakame/amqp', 'amqp/src/index.ts'],
  ['@wakame/amqp/errors', 'amqp/src/errors.ts'],
  ['wakame', 'wakame/src/index.ts'],
  ['wakame/filesystem', 'wakame/src/transports/filesystem/index.ts'],
  ['wakame/memory', 'wakame/src/transports/memory/index.ts'],
  ['wakame/redis', 'wakame/src/transports/redis/index.ts'],
  ['wakame/sql', 'wakame/src/transports/sql/index.ts'],
  ['wakame/virtual', 'wakame/src/transports/virtual/index.ts'],
  ['wakame/wire', 'wakame/src/transports/virtual/wire/index.ts'],
  ['wakame/testing', 'wakame/src/testing/index.ts'],
  ['wakame/util', 'wakame/src/util/index.ts'],
  ['@wakame/oslo', 'oslo/src/index.ts'],
]);

registerHooks({
  resolve(specifier, context, next) {
    const own = names.get(specifier);
    if (own !== undefined) return { url: new URL(own, packages).href, shortCircuit: true };
    if (specifier.startsWith('.') && specifier.endsWith('.js') && context.parentURL?.startsWith(packages.href)) {
      const source = new URL(specifier.replace(/\.js$/, '.ts'), context.parentURL);
      if (existsSync(fileURLToPath(source))) return { url: source.href, shortCircuit: true };
    }
    return next(specifier, context);
  },
  load(url, context, next) {
    if (!url.startsWith(packages.href) || !url.endsWith('.ts')) return next(url, context);
    const file = fileURLToPath(url);
    const { code, errors } = transformSync(file, readFileSync(file, 'utf8'), { target: 'es2022' });
    if (errors.length > 0) throw new SyntaxError(`${file}: ${errors[0]?.message}`);
    return { format: 'module', source: code, shortCircuit: true };
  },
});
