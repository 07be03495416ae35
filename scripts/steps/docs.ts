import { join } from 'node:path';
import { readSite, unlistedModules, unlistedPages } from '../../docs/site/build.ts';
import { undocumented } from '../../docs/site/documented.ts';
import { brokenHtmlLinks, brokenMarkdownLinks } from '../../docs/site/links.ts';
import { root } from '../setup.mjs';

/** Makes the site: every public item has a comment, and every link leads somewhere. */
export async function docs(): Promise<void> {
  const site = await readSite();
  const folder = join(root, 'docs', 'site', 'dist');
  await site.write(folder);
  const problems = [
    ...site.problems,
    ...undocumented(site.project).map((item) => `${item} has no comment`),
    ...unlistedPages().map((file) => `${file} is not in docs/site/pages.ts`),
    ...unlistedModules().map((name) => `${name} is not in docs/site/pages.ts`),
    ...brokenMarkdownLinks(),
    ...brokenHtmlLinks(folder),
  ];
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) throw new Error(`${problems.length} problems with the documentation`);
}
