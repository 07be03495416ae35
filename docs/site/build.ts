/** Makes the site: the pages of docs/ and the reference of the public modules, as static files. */
import { globSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename, extname, join } from 'node:path';
import {
  Application,
  Converter,
  type DocumentReflection,
  JSX,
  KindRouter,
  Logger,
  LogLevel,
  PageKind,
  type ProjectReflection,
  type Reflection,
  RendererEvent,
  type TypeDocOptions,
} from 'typedoc';
import { root } from '../../scripts/setup.mjs';
import { modules, sections } from './pages.ts';

/** Remembers what TypeDoc has to say: all of it is a problem. */
class Problems extends Logger {
  readonly found: string[] = [];

  override log(message: string, level: LogLevel): void {
    if (level >= LogLevel.Warn) this.found.push(message);
  }
}

const listed = new Set(sections.flatMap(({ pages }) => pages.flatMap((pattern) => globSync(pattern, { cwd: root }))));

/** Pages of docs/ that the navigation leaves out. */
export function unlistedPages(): string[] {
  return globSync('docs/**/*.md', { cwd: root, exclude: ['docs/site/**'] }).filter((file) => !listed.has(file));
}

/** What packages export and the reference leaves out. `wakame/util` is for packages of this repository, and may change with any version. */
export function unlistedModules(): string[] {
  const names = globSync('packages/*/package.json', { cwd: root }).flatMap((file) => {
    const { name, exports } = JSON.parse(readFileSync(join(root, file), 'utf8')) as { name: string; exports: object };
    return Object.keys(exports).map((path) => path.replace('.', name));
  });
  return names.filter((name) => !(name in modules || name === 'wakame/util' || name.endsWith('/package.json')));
}

export interface Page {
  readonly section: string;
  /** From the root of the repository. */
  readonly file: string;
  readonly title: string;
}

/** Every page, in the order of the navigation. */
export const pages: readonly Page[] = sections.flatMap(({ title: section, pages }) =>
  pages
    .flatMap((pattern) => globSync(pattern, { cwd: root }).sort())
    .map((file) => ({ section, file, title: /^# (.*)$/m.exec(readFileSync(join(root, file), 'utf8'))?.[1] ?? file })),
);

export interface Site {
  readonly project: ProjectReflection;
  /** What TypeDoc found wrong: broken links, comments that name what is not there. */
  readonly problems: readonly string[];
  /** Writes the site into a folder, which is emptied first. */
  write(folder: string): Promise<void>;
}

/** Reads sources and pages. */
export async function readSite(changes: Partial<TypeDocOptions> = {}): Promise<Site> {
  const logger = new Problems();
  const app = await Application.bootstrap({ ...options(), ...changes });
  app.logger = logger;
  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_, document) => placeInNavigation(document));
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => nameModules(project));
  app.converter.on(Converter.EVENT_RESOLVE_END, ({ project }) => orderModules(project), -1000);
  app.renderer.defineRouter('wakame', PagesRouter);
  decorate(app);
  app.renderer.on(RendererEvent.END, ({ outputDirectory }) => renameSources(outputDirectory));

  const project = await app.convert();
  if (project === undefined) throw new Error(`TypeDoc could not read the sources:\n${logger.found.join('\n')}`);
  app.validate(project);
  return {
    project,
    problems: logger.found,
    write: (folder) => app.generateDocs(project, folder),
  };
}

function options(): Partial<TypeDocOptions> {
  const path = (file: string) => join(root, file);
  return {
    name: 'Wakame',
    tsconfig: path('docs/site/tsconfig.json'),
    // Types are checked elsewhere, by the compiler that the packages are made with.
    skipErrorChecking: true,
    entryPoints: Object.values(modules).map(path),
    projectDocuments: pages.map(({ file }) => path(file)),
    readme: path('README.md'),
    router: 'wakame',
    customCss: path('docs/site/style.css'),
    favicon: path('docs/site/favicon.svg'),
    basePath: root,
    displayBasePath: root,
    disableGit: true,
    disableSources: true,
    excludeExternals: true,
    excludeInternal: true,
    excludePrivate: true,
    hideGenerator: true,
    githubPages: true,
    searchInDocuments: true,
    sort: ['documents-first', 'kind', 'instance-first', 'alphabetical-ignoring-documents'],
    sortEntryPoints: false,
    defaultCategory: reference,
    categoryOrder: [...sections.map(({ title }) => title), reference],
    categorizeByGroup: false,
    navigation: { includeCategories: true, includeGroups: false },
    highlightLanguages: ['typescript', 'javascript', 'json', 'bash', 'shellscript', 'python', 'sql', 'html', 'ini'],
    ignoredHighlightLanguages: ['text'],
    validation: { invalidLink: true, invalidPath: true, rewrittenLink: true, notExported: false, notDocumented: false },
  };
}

const reference = 'Reference';

/** Pages are where their sources are, `guides/celery.html`; the reference is by kind, as TypeDoc has it. */
class PagesRouter extends KindRouter {
  protected override getIdealBaseName(reflection: Reflection): string {
    const file = reflection.isDocument() ? fileOf(reflection) : undefined;
    if (file === undefined) return super.getIdealBaseName(reflection);
    const base = file.replace(/\.md$/, '').toLowerCase();
    return base.startsWith('docs/') ? base.slice('docs/'.length) : `project/${base.replaceAll('/', '-')}`;
  }
}

function fileOf(document: Reflection): string | undefined {
  return document.project.files.getReflectionPath(document)?.slice(root.length + 1);
}

/** A page's name is its first heading. */
function placeInNavigation(document: DocumentReflection): void {
  const file = fileOf(document);
  const page = pages.find((one) => one.file === file);
  if (page === undefined) throw new Error(`${file} is not in docs/site/pages.ts`);
  document.name = page.title.replaceAll('`', '');
  document.frontmatter['category'] = page.section;
  for (const part of document.content) {
    // TypeDoc would take what has no language for TypeScript.
    if (part.kind === 'code') part.text = part.text.replace(/^```\n/, '```text\n');
  }
}

/** Calls each module what it is imported as. */
function nameModules(project: ProjectReflection): void {
  const names = Object.entries(modules).map(([name, file]) => [join(root, file), name] as const);
  for (const module of project.children ?? []) {
    const file = project.files.getReflectionPath(module);
    module.name = names.find(([source]) => source === file)?.[1] ?? module.name;
  }
}

/** TypeDoc sorts them by their names; here they stand as in the list. */
function orderModules(project: ProjectReflection): void {
  const order = Object.keys(modules);
  const place = ({ name }: Reflection) => order.indexOf(name);
  project.categories?.find(({ title }) => title === reference)?.children.sort((a, b) => place(a) - place(b));
}

/** Links to the page before and the page after, a name of the page's kind for the style sheet, and sections that are open at first. */
function decorate(app: Application): void {
  const open = sections.filter(({ open }) => open).map(({ title }) => title);
  const script = [
    `for (const key of ${JSON.stringify(open)})`,
    "if (localStorage.getItem('tsd-accordion-' + key) === null) localStorage.setItem('tsd-accordion-' + key, 'true');",
  ].join(' ');
  const html = (text: string) => JSX.createElement(JSX.Raw, { html: text });
  app.renderer.hooks.on('head.end', () => html(`<script>${script}</script>`));
  app.renderer.hooks.on('body.begin', ({ page }) =>
    html(`<script>document.body.classList.add('page-${page.pageKind.toLowerCase()}');</script>`),
  );
  app.renderer.hooks.on('content.end', (context) => {
    const { model, pageKind, project } = context.page;
    if (pageKind !== PageKind.Document) return html('');
    const documents = project.documents ?? [];
    const at = documents.indexOf(model as DocumentReflection);
    const link = (document: DocumentReflection | undefined, rel: 'prev' | 'next') =>
      document === undefined
        ? JSX.createElement('span', null)
        : JSX.createElement('a', { href: context.urlTo(document), rel }, document.name);
    const links = [link(documents[at - 1], 'prev'), link(documents[at + 1], 'next')];
    return JSX.createElement('nav', { class: 'pager', 'aria-label': 'Pages' }, ...links);
  });
}

/** Sources that pages link to are copied; web servers take `.ts` for a film. */
function renameSources(folder: string): void {
  const media = join(folder, 'media');
  const renamed = readdirSync(media).filter((file) => ['.ts', '.py', '.mjs', ''].includes(extname(file)));
  for (const file of renamed) renameSync(join(media, file), join(media, `${file}.txt`));
  for (const file of globSync('**/*.html', { cwd: folder })) {
    const html = readFileSync(join(folder, file), 'utf8');
    const changed = html.replaceAll(/(href="[^"]*media\/)([^"#?]+)/g, (whole, before: string, name: string) =>
      renamed.includes(basename(decodeURI(name))) ? `${before}${name}.txt` : whole,
    );
    if (changed !== html) writeFileSync(join(folder, file), changed);
  }
}
