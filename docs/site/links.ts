/** Whether every link leads somewhere: in the Markdown, as it is read in the repository, and in the pages made of it. */
import { existsSync, globSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, posix, relative } from 'node:path';
import { root } from '../../scripts/setup.mjs';

/** Every Markdown file of the repository. */
export const markdownFiles: readonly string[] = globSync(
  ['*.md', '{docs,examples,bench,chaos,interop,packages,scripts}/**/*.md'],
  {
    cwd: root,
    exclude: (path) => /(^|\/)(node_modules|dist|\.cache|\.brokers)(\/|$)/.test(path),
  },
)
  .map((file) => file.replaceAll('\\', '/'))
  .sort();

/** What a Markdown file has beside its code blocks, line by line; a line within one is empty. */
function prose(text: string): string[] {
  let fence: string | undefined;
  return text.split('\n').map((line) => {
    const mark = /^ *(`{3,}|~{3,})/.exec(line)?.[1];
    if (fence === undefined && mark === undefined) return line.replaceAll(/`[^`]*`/g, '``');
    fence = fence === undefined ? mark : mark === fence ? undefined : fence;
    return '';
  });
}

/** The anchors that GitHub gives to headings. */
function anchors(text: string): Set<string> {
  const found = new Set<string>();
  let fence = false;
  for (const line of text.split('\n')) {
    if (/^ *(```|~~~)/.test(line)) fence = !fence;
    const heading = fence ? undefined : /^#{1,6} +(.*?)\s*#*$/.exec(line)?.[1];
    if (heading === undefined) continue;
    const words = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').replaceAll(/[`*]/g, '');
    const slug = words
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(/\s/g, '-');
    let name = slug;
    for (let n = 1; found.has(name); n += 1) name = `${slug}-${n}`;
    found.add(name);
  }
  return found;
}

/** Links within the repository that lead nowhere. `texts` has pages by their paths from the root. */
export function brokenMarkdownLinks(texts: ReadonlyMap<string, string> = allTexts()): string[] {
  const broken: string[] = [];
  for (const [file, text] of texts) {
    for (const [number, line] of prose(text).entries()) {
      for (const [, target = ''] of line.matchAll(/\]\(([^()\s]+)(?:\s+"[^"]*")?\)/g)) {
        if (/^[a-z]+:/.test(target)) continue;
        const [path = '', anchor] = target.split('#');
        const wanted = path === '' ? file : posix.join(dirname(file), decodeURI(path));
        const problem = !(texts.has(wanted) || existsSync(join(root, wanted)))
          ? 'there is no such file'
          : anchor !== undefined && !anchors(texts.get(wanted) ?? '').has(anchor)
            ? 'there is no such heading'
            : undefined;
        if (problem !== undefined) broken.push(`${file}:${number + 1}: ${target}: ${problem}`);
      }
    }
  }
  return broken;
}

function allTexts(): Map<string, string> {
  return new Map(markdownFiles.map((file) => [file, readFileSync(join(root, file), 'utf8')]));
}

/** Links of the site, within it, that lead nowhere. */
export function brokenHtmlLinks(folder: string): string[] {
  const ids = new Map<string, Set<string>>();
  const links = new Map<string, string[]>();
  for (const file of globSync('**/*.html', { cwd: folder })) {
    const html = readFileSync(join(folder, file), 'utf8');
    ids.set(file, new Set(Array.from(html.matchAll(/\s(?:id|name)="([^"]+)"/g), ([, id = '']) => id)));
    links.set(
      file,
      Array.from(html.matchAll(/<a\s[^>]*?href="([^"]+)"/g), ([, href = '']) => href),
    );
  }
  const broken = new Set<string>();
  for (const [file, hrefs] of links) {
    for (const href of new Set(hrefs)) {
      if (/^[a-z]+:/.test(href)) continue;
      const [path = '', anchor = ''] = href.split('#');
      const wanted = path === '' ? file : relative(folder, join(folder, dirname(file), decodeURI(path)));
      const exists = ids.has(wanted) || (existsSync(join(folder, wanted)) && statSync(join(folder, wanted)).isFile());
      if (!exists) broken.add(`${file}: ${href}: there is no such page`);
      else if (anchor !== '' && !ids.get(wanted)?.has(decodeURIComponent(anchor))) {
        broken.add(`${file}: ${href}: there is no such place on that page`);
      }
    }
  }
  return [...broken];
}
