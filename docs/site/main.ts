/**
 * npm run docs [-- --serve [port]]: makes the site in docs/site/dist, and serves it on this machine with `--serve`.
 */
import { parseArgs } from 'node:util';
import { root } from '../../scripts/setup.mjs';
import { readSite } from './build.ts';
import { serve } from './serve.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { serve: { type: 'boolean', default: false } },
});
const folder = `${root}/docs/site/dist`;
const site = await readSite();
await site.write(folder);
for (const problem of site.problems) console.error(problem);
console.log(`${folder}/index.html`);
if (values.serve) {
  const server = await serve(folder, Number(positionals[0] ?? 8080));
  console.log(`${server.url} (Ctrl-C ends it)`);
}
