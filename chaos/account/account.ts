/** The account of a run: a function of its log and nothing else. */
import type { LedgerRecord } from '../ledger/records.ts';
import { countDuplicates, type DuplicateCount } from './duplicates.ts';
import { type History, historyOf } from './history.ts';
import { Hits } from './hits.ts';
import { checkOrder } from './order.ts';
import { measureRecovery, type Recovery } from './recovery.ts';

/** What must not happen, and how it is called in the report. */
export const RULES = {
  lost: 'confirmed and never delivered',
  duplicate: 'delivered again without a reason in the log',
  order: 'out of order without redelivery',
  pending: 'neither confirmed nor rejected at the end',
  untrue: 'delivered although reported as not sent or refused',
  stray: 'delivered but not published so',
  silent: 'workers not at work again after a fault',
  process: 'processes that ended otherwise than told',
} as const;

export type Rule = keyof typeof RULES;

export interface Violation {
  readonly rule: Rule;
  readonly text: string;
}

export interface Account {
  readonly stand: string;
  readonly seed: number;
  /** Milliseconds. */
  readonly duration: number;
  readonly published: number;
  readonly confirmed: number;
  /** Rejected publishes, by outcome. */
  readonly rejected: Readonly<Record<'not-sent' | 'refused' | 'unknown', number>>;
  /** Messages whose publisher was killed before it knew of them. */
  readonly orphaned: number;
  readonly deliveries: number;
  readonly duplicates: DuplicateCount;
  readonly kills: number;
  readonly faults: number;
  readonly recoveries: readonly Recovery[];
  /** Bytes, by role and language: the most that a process took. */
  readonly peakMemory: ReadonlyMap<string, number>;
  /** Empty: the account balances. */
  readonly violations: readonly Violation[];
}

/** Balances the log of a whole run. */
export function account(records: Iterable<LedgerRecord>): Account {
  const history = historyOf(records);
  const violations: Violation[] = [];
  const complainOf = (rule: Rule) => (text: string) => violations.push({ rule, text });
  const hits = new Hits(history);

  const messages = [...history.messages.values()];
  checkOutcomes(history, complainOf);
  for (const text of history.strays) violations.push({ rule: 'stray', text });
  const duplicates = countDuplicates(history, hits, complainOf('duplicate'));
  checkOrder(history, hits, complainOf('order'));
  const recoveries = measureRecovery(history, complainOf('silent'));
  checkProcesses(history, complainOf('process'));

  const outcomes = Map.groupBy(messages, ({ outcome }) => outcome);
  const having = (outcome: (typeof messages)[number]['outcome']) => outcomes.get(outcome)?.length ?? 0;
  const workers = [...history.workers.values()];
  const peakMemory = new Map<string, number>();
  for (const { role, language, peakMemory: peak } of workers) {
    const key = `${role} (${language})`;
    peakMemory.set(key, Math.max(peakMemory.get(key) ?? 0, peak));
  }
  return {
    stand: history.stand,
    seed: history.seed,
    duration: history.endedAt - history.startedAt,
    published: messages.length,
    confirmed: having('confirmed'),
    rejected: { 'not-sent': having('not-sent'), refused: having('refused'), unknown: having('unknown') },
    orphaned: having(undefined),
    deliveries: messages.reduce((sum, { deliveries }) => sum + deliveries.length, 0),
    faults: history.faults.size,
    ...{ duplicates, recoveries, peakMemory, violations },
    kills: workers.filter(({ killedAt }) => killedAt !== undefined).length,
  };
}

function checkOutcomes(history: History, complainOf: (rule: Rule) => (text: string) => void): void {
  const [lost, pending, untrue] = (['lost', 'pending', 'untrue'] as const).map(complainOf) as [
    (text: string) => void,
    (text: string) => void,
    (text: string) => void,
  ];
  for (const { producer, number, queue, outcome, deliveries } of history.messages.values()) {
    const name = `${producer}:${number} to '${queue}'`;
    const publisher = history.workers.get(producer);
    if (outcome === undefined && publisher?.killedAt === undefined) pending(name);
    if (outcome === 'confirmed' && deliveries.length === 0) lost(name);
    if ((outcome === 'not-sent' || outcome === 'refused') && deliveries.length > 0) untrue(`${name}: ${outcome}`);
  }
}

/** A worker ends when it is killed, or by itself, without an error, after it was told to. */
function checkProcesses(history: History, complain: (text: string) => void): void {
  for (const { by, killedAt, toldAt, finishedAt, end } of history.workers.values()) {
    if (killedAt !== undefined) continue;
    if (end === undefined) complain(`${by} did not end`);
    else if (end !== 'exit code 0') complain(`${by}: ${end}`);
    else if (toldAt === undefined) complain(`${by} ended by itself`);
    else if (finishedAt === undefined) complain(`${by} ended before it had finished`);
  }
}
