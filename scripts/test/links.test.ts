import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { brokenHtmlLinks, brokenMarkdownLinks, markdownFiles } from '../../docs/site/links.ts';

function broken(...lines: string[]): string[] {
  return brokenMarkdownLinks(
    new Map([
      ['docs/page.md', lines.join('\n')],
      ['docs/guides/other.md', '# Other, `code` & more\n## Twice\n## Twice\n```sh\n# no heading\n```'],
    ]),
  );
}

test('links of a page: files of the repository, headings as GitHub names them, other hosts', () => {
  expect(broken('[a](guides/other.md) [b](../README.md#transports-is-none)')).toEqual([
    'docs/page.md:1: ../README.md#transports-is-none: there is no such heading',
  ]);
  expect(broken('# Here', '[a](#here) [b](guides/other.md#other-code--more) [c](guides/other.md#twice-1)')).toEqual([]);
  expect(broken('', '[a](nowhere.md) [b](#gone) [c](guides/other.md#no-heading) [d](https://example.org/#x)')).toEqual([
    'docs/page.md:2: nowhere.md: there is no such file',
    'docs/page.md:2: #gone: there is no such heading',
    'docs/page.md:2: guides/other.md#no-heading: there is no such heading',
  ]);
});

test('what stands in code is no link', () => {
  expect(broken('`[a](nowhere.md)`', '```ts', 'const a = b[0](nowhere);', '[c](nowhere.md)', '```')).toEqual([]);
});

test('all pages of the repository are looked at, and nothing that was installed or made', () => {
  expect(markdownFiles).toEqual(expect.arrayContaining(['README.md', 'docs/options.md', 'packages/amqp/README.md']));
  expect(markdownFiles.filter((file) => /node_modules|dist/.test(file))).toEqual([]);
});

test('links of the site: pages, places on them, files', () => {
  const folder = mkdtempSync(join(tmpdir(), 'wakame-links-'));
  try {
    mkdirSync(join(folder, 'guides'));
    writeFileSync(
      join(folder, 'guides', 'a.html'),
      '<h1 id="top">A</h1><a href="../b.html#x">b</a><a href="#top">a</a>',
    );
    writeFileSync(
      join(folder, 'b.html'),
      '<a href="guides/a.html">a</a><a href="guides/c.html">c</a><a href="b.css">css</a>',
    );
    writeFileSync(join(folder, 'b.css'), '');
    expect(brokenHtmlLinks(folder).sort()).toEqual([
      'b.html: guides/c.html: there is no such page',
      'guides/a.html: ../b.html#x: there is no such place on that page',
    ]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
