/** The matrix as text for the terminal and as the page docs/interop.md. */
import type { Column } from './columns.ts';
import type { Cell } from './matrix.ts';

/** The cells of one test file. */
export interface Area {
  readonly title: string;
  readonly columns: readonly Column[];
  readonly cells: readonly (Cell & { readonly passed: boolean })[];
}

interface Row {
  readonly feature: string;
  readonly direction: string;
  /** One for each column. */
  readonly entries: readonly Entry[];
}

interface Entry {
  readonly state: 'yes' | 'FAILED' | 'none';
  /** Why there is none. */
  readonly reason: string;
}

const order = [
  ...['Formats', 'Messages', 'Routing', 'Settling', 'Mailboxes', 'Celery', 'Delayed delivery'],
  ...[
    'RPC of oslo.messaging',
    'Notifications of oslo.messaging',
    'Losses with oslo.messaging',
    'Crowds with oslo.messaging',
    "OpenStack's Mitaka",
  ],
];

/** As on the page; areas that the page does not know come last. */
export function inOrder(areas: readonly Area[]): Area[] {
  const place = ({ title }: Area) => (order.includes(title) ? order.indexOf(title) : order.length);
  return areas.toSorted((a, b) => place(a) - place(b) || a.title.localeCompare(b.title));
}

/** For the terminal. */
export function plainTable(areas: readonly Area[]): string {
  const groups = areas.map(({ title, columns, cells }) => ({
    head: [title, '', ...columns.map(({ key }) => key)],
    lines: rowsOf(columns, cells).map(({ feature, direction, entries }) => [
      feature,
      direction,
      ...entries.map(({ state }) => (state === 'none' ? '–' : state)),
    ]),
  }));
  const lines = groups.flatMap(({ head, lines }) => [head, ...lines]);
  const width = Math.max(...lines.map(({ length }) => length));
  const widths = Array.from({ length: width }, (_, i) => Math.max(...lines.map((line) => line[i]?.length ?? 0)));
  const text = (line: readonly string[]) => line.map((value, i) => value.padEnd(widths[i] ?? 0)).join('  ');
  return groups.flatMap((group) => [text(group.head), ...group.lines.map(text), '']).join('\n');
}

/** The page. It has nothing in it that differs from run to run. */
export function document(areas: readonly Area[]): string {
  const columns = [...new Map(areas.flatMap((area) => area.columns).map((column) => [column.key, column])).values()];
  return `${introduction}
| column | Python side |
| --- | --- |
${columns.map(({ key, transport, versions }) => `| ${key} | ${transport.title}: ${versions} |`).join('\n')}

${areas.map((area) => section(area)).join('\n')}`;
}

const introduction = `# What works with Python

Each cell is a test between Wakame and a real Python process over a real broker; \`npm test\` runs them all. This page is written by
them: \`WAKAME_INTEROP_WRITE=1 npm test -- interop/\`.
`;

function section({ title, columns, cells }: Area): string {
  const rows = rowsOf(columns, cells);
  const reasons = [...new Set(rows.flatMap(({ entries }) => entries.map(({ reason }) => reason)))].filter(Boolean);
  const mark = ({ state, reason }: Entry) =>
    state === 'none' ? `–${reason ? ` (${reasons.indexOf(reason) + 1})` : ''}` : state;
  const lines = rows.map(
    ({ feature, direction, entries }) => `| ${feature} | ${direction} | ${entries.map(mark).join(' | ')} |`,
  );
  const notes = reasons.map((reason, i) => `${i + 1}. ${reason}`).join('\n');
  return `## ${title}

| | | ${columns.map(({ key }) => key).join(' | ')} |
| --- | --- |${' --- |'.repeat(columns.length)}
${lines.join('\n')}
${notes === '' ? '' : `\n${notes}\n`}`;
}

/** In the order in which the tests stand in their file. */
function rowsOf(columns: readonly Column[], cells: Area['cells']): Row[] {
  const rows = new Map<string, Area['cells'][number][]>();
  for (const cell of cells) {
    const key = `${cell.feature}\0${cell.direction}`;
    rows.set(key, [...(rows.get(key) ?? []), cell]);
  }
  return [...rows.values()].map((row) => ({
    feature: row[0]?.feature ?? '',
    direction: row[0]?.direction ?? '',
    entries: columns.map((column) => entryOf(column, row)),
  }));
}

function entryOf({ key }: Column, row: Area['cells']): Entry {
  const tests = row.filter(({ column }) => column === key);
  if (tests.length === 0) return { state: 'none', reason: row[0]?.absent[key] ?? '' };
  return { state: tests.every(({ passed }) => passed) ? 'yes' : 'FAILED', reason: '' };
}
