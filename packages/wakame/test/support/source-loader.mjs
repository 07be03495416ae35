/**
 * For `node --import`: runs the sources of this workspace without a build. Node strips the types by itself; what it does
 * not do is find `x.ts` for an import of `./x.js`, and the sources of `@wakame/amqp` and `wakame` for their names.
 */
import { existsSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';

const packages = new URL('../../../', import.meta.url);
const names = new Map([
  ['@wakame/amqp', 'amqp/src/index.ts'],
  ['@wakame/amqp/errors', 'amqp/src/errors.ts'],
  ['wakame', 'wakame/src/index.ts'],
  ['wakame/memory', 'wakame/src/transports/memory/index.ts'],
  ['wakame/virtual', 'wakame/src/transports/virtual/index.ts'],
  ['wakame/wire', 'wakame/src/transports/virtual/wire/index.ts'],
  ['wakame/testing', 'wakame/src/testing/index.ts'],
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
});
