import assert from 'node:assert/strict';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { pages } from '../../docs/site/build.ts';
import { serve } from '../../docs/site/serve.ts';
import { chromium } from '../lib/chromium.ts';
import { tool } from '../lib/tools.ts';
import { root } from '../setup.mjs';

const playwright = '1.65.1';

/** The little of Playwright that is used here. It is fetched for this check alone, so its types are not there. */
interface Page {
  on(event: string, listener: (event: unknown) => void): void;
  goto(url: string): Promise<unknown>;
  url(): string;
  title(): Promise<string>;
  locator(selector: string): Locator;
  evaluate<R>(script: string): Promise<R>;
  waitForURL(url: string | RegExp): Promise<void>;
  keyboard: { type(text: string): Promise<void>; press(key: string): Promise<void> };
  setViewportSize(size: { width: number; height: number }): Promise<void>;
  screenshot(options: { path: string; fullPage?: boolean }): Promise<unknown>;
  close(): Promise<void>;
}
interface Locator {
  first(): Locator;
  click(): Promise<void>;
  innerText(): Promise<string>;
  waitFor(): Promise<void>;
  count(): Promise<number>;
}
interface Playwright {
  readonly chromium: {
    launch(options: { executablePath: string; args: string[] }): Promise<{
      newPage(): Promise<Page>;
      close(): Promise<void>;
    }>;
  };
}

/** Goes through the site in a browser: every page, the search, the menu on a small screen; nothing may complain. Needs the site. */
export async function browser(): Promise<void> {
  const folder = join(root, 'docs', 'site', 'dist');
  const executablePath = chromium();
  const entry = pathToFileURL(join(await tool('playwright-core', playwright), 'index.mjs')).href;
  const { chromium: driver } = (await import(entry)) as Playwright;
  const site = await serve(folder, 0);
  const opened = await driver.launch({ executablePath, args: process.getuid?.() === 0 ? ['--no-sandbox'] : [] });
  try {
    const problems: string[] = [];
    const page = await opened.newPage();
    watch(page, site.url, problems);
    await readPages(page, site.url);
    await search(page, site.url);
    await smallScreen(page, site.url);
    for (const problem of problems) console.error(problem);
    if (problems.length > 0) throw new Error(`the browser complained ${problems.length} times`);
  } finally {
    await opened.close();
    await site.close();
  }
}

/** Errors of scripts, what cannot be loaded, and whatever is asked of other hosts. */
function watch(page: Page, origin: string, problems: string[]): void {
  const note = (text: string) => problems.push(`${page.url()}: ${text}`);
  page.on('console', (event) => {
    const message = event as { type(): string; text(): string };
    if (['error', 'warning'].includes(message.type())) note(message.text());
  });
  page.on('pageerror', (error) => note(String(error)));
  page.on('requestfailed', (event) => {
    const request = event as { url(): string; failure(): { errorText: string } | null };
    // What was still being loaded when the page was left.
    if (request.failure()?.errorText !== 'net::ERR_ABORTED') note(`cannot load ${request.url()}`);
  });
  page.on('response', (event) => {
    const response = event as { url(): string; status(): number };
    if (response.status() >= 400) note(`${response.status()} ${response.url()}`);
    if (!response.url().startsWith(origin)) note(`asks ${response.url()}`);
  });
}

/** From the first page by its links to the next, to the last; each has its heading, and itself in the menu. */
async function readPages(page: Page, url: string): Promise<void> {
  await page.goto(url);
  assert.equal(await page.title(), 'Wakame');
  await page.locator('.site-menu a').first().waitFor();
  const first = pages[0]?.title ?? '';
  await page.locator(`.site-menu a:has-text("${first}")`).first().click();
  for (const { title } of pages) {
    const plain = title.replaceAll('`', '');
    const heading = await page.locator('.tsd-typography h1').first().innerText();
    assert.equal(heading.replace(/\s+/g, ' ').trim(), plain);
    assert.ok((await page.title()).startsWith(plain), await page.title());
    const next = page.locator('.pager a[rel="next"]');
    if ((await next.count()) === 0) break;
    const before = page.url();
    await next.click();
    assert.notEqual(page.url(), before);
  }
  assert.equal(await page.locator('.pager a[rel="next"]').count(), 0, 'the last page has no next one');
}

/** Both a page and a class are found by a word. */
async function search(page: Page, url: string): Promise<void> {
  await page.goto(url);
  await page.locator('#tsd-search-trigger').click();
  await page.keyboard.type('mailbox');
  await page.locator('#tsd-search-results li a').first().waitFor();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await page.waitForURL(/mailbox/i);
}

/** A phone: the menu opens, and nothing is wider than the screen. */
async function smallScreen(page: Page, url: string): Promise<void> {
  await page.setViewportSize({ width: 390, height: 800 });
  for (const path of ['', 'concepts.html', 'options.html', 'guides/celery.html', 'classes/wakame.Connection.html']) {
    await page.goto(`${url}${path}`);
    const overflow = await page.evaluate<number>('document.documentElement.scrollWidth - window.innerWidth');
    assert.ok(overflow <= 0, `${path} is ${overflow} pixels wider than a phone`);
  }
  await page.locator('#tsd-toolbar-menu-trigger, [data-toggle="menu"]').first().click();
  await page.locator('.site-menu a:has-text("First steps")').first().click();
  await page.waitForURL(/first-steps/);
}
