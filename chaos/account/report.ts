/** The account for people, and for programs. */
import { type Account, RULES, type Rule } from './account.ts';
import type { Recovery } from './recovery.ts';

/** Violations of one rule that are shown; the others are in the log. */
const MOST_SHOWN = 10;

export function report(account: Account): string {
  const { rejected, duplicates, recoveries, violations } = account;
  const minutes = (account.duration / 60_000).toFixed(1);
  const lines = [
    `chaos ${account.stand}, seed ${account.seed}, ${minutes} min: ${account.faults} faults, ${account.kills} kills`,
    '',
    table([
      ['messages published', number(account.published)],
      ['  confirmed', number(account.confirmed)],
      ['  rejected, not sent', number(rejected['not-sent'])],
      ['  rejected, refused by the broker', number(rejected.refused)],
      ['  rejected, outcome unknown', number(rejected.unknown)],
      ['  publisher killed before the outcome', number(account.orphaned)],
      ['deliveries', number(account.deliveries)],
      ['  delivered again', number(duplicates.total)],
      ...reasons('    sent again', duplicates.resent),
      ...reasons('    redelivered', duplicates.redelivered),
      ['    not flagged: the broker crashed', number(duplicates.forgotten)],
      ...[...account.peakMemory]
        .sort()
        .map(([who, bytes]) => [`peak memory, ${who}`, `${Math.round(bytes / 2 ** 20)} MiB`]),
    ]),
    '',
    table([
      [
        'ms from the end of a fault',
        'count',
        'first message:',
        'median',
        'max',
        'everybody:',
        'median',
        'max',
        'silence:',
        'median',
        'max',
      ],
      ...[...recoveryByKind(recoveries)].map(([kind, { count, first, all, silence }]) => [
        ...[kind, number(count), '', number(first.median), number(first.max), '', number(all.median), number(all.max)],
        ...['', number(silence.median), number(silence.max)],
      ]),
    ]),
    '',
    table((Object.keys(RULES) as Rule[]).map((rule) => [RULES[rule], number(count(account, rule))])),
  ];
  for (const rule of Object.keys(RULES) as Rule[]) {
    const texts = violations.filter((violation) => violation.rule === rule).map(({ text }) => text);
    if (texts.length === 0) continue;
    lines.push('', `${RULES[rule]}:`, ...texts.slice(0, MOST_SHOWN).map((text) => `  ${text}`));
    if (texts.length > MOST_SHOWN) lines.push(`  and ${texts.length - MOST_SHOWN} more`);
  }
  lines.push('', violations.length === 0 ? 'The account balances.' : 'THE ACCOUNT DOES NOT BALANCE.');
  return lines.join('\n');
}

/** The account as JSON. */
export function toJson(account: Account): unknown {
  const { duplicates, peakMemory, violations, recoveries } = account;
  return {
    ...account,
    duplicates: {
      ...duplicates,
      resent: Object.fromEntries(duplicates.resent),
      redelivered: Object.fromEntries(duplicates.redelivered),
    },
    recoveries: Object.fromEntries(recoveryByKind(recoveries)),
    peakMemory: Object.fromEntries(peakMemory),
    counts: Object.fromEntries((Object.keys(RULES) as Rule[]).map((rule) => [rule, count(account, rule)])),
    violations,
  };
}

interface Spread {
  readonly median: number;
  readonly max: number;
}

interface Recovered {
  readonly count: number;
  readonly first: Spread;
  readonly all: Spread;
  readonly silence: Spread;
}

/** By kind of fault, and `all` together. */
export function recoveryByKind(recoveries: readonly Recovery[]): Map<string, Recovered> {
  const kinds = Map.groupBy(recoveries, ({ kind }) => kind);
  const rows = [...kinds]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([kind, some]) => [kind, recovered(some)] as const);
  return new Map(recoveries.length === 0 ? rows : [...rows, ['all', recovered(recoveries)] as const]);
}

function recovered(recoveries: readonly Recovery[]): Recovered {
  return {
    count: recoveries.length,
    first: spread(recoveries.map(({ first }) => first)),
    all: spread(recoveries.map(({ all }) => all)),
    silence: spread(recoveries.map(({ silence }) => silence)),
  };
}

function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median =
    sorted.length % 2 === 1 ? sorted[middle] : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
  return { median: Math.round(median as number), max: Math.round(sorted.at(-1) as number) };
}

function count(account: Account, rule: Rule): number {
  return account.violations.filter((violation) => violation.rule === rule).length;
}

function reasons(what: string, counts: ReadonlyMap<string, number>): string[][] {
  return [...counts].sort(([, a], [, b]) => b - a).map(([kind, some]) => [`${what}: ${kind}`, number(some)]);
}

function number(value: number): string {
  return value.toLocaleString('en-US');
}

/** The first column to the left, the others to the right. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  return rows
    .map((row) =>
      row.map((cell, i) => (i === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  '),
    )
    .join('\n');
}
