import { bench } from './bench.ts';
import { browser } from './browser.ts';
import { build } from './build.ts';
import { chaos } from './chaos.ts';
import { codeBlocks } from './code-blocks.ts';
import { docs } from './docs.ts';
import { examples } from './examples.ts';
import { layers } from './layers.ts';
import { packages } from './packages.ts';
import { style } from './style.ts';
import { types } from './types.ts';

/** Every check but the tests, by name, in an order in which each finds what it needs. */
export const checks: ReadonlyMap<string, (options: { fix: boolean }) => Promise<void>> = new Map([
  ['style', ({ fix }: { fix: boolean }) => style(fix)],
  ['layers', layers],
  ['build', build],
  ['types', types],
  ['docs', docs],
  ['browser', browser],
  ['packages', packages],
  ['examples', examples],
  ['code-blocks', codeBlocks],
  ['chaos', chaos],
  ['bench', bench],
]);
