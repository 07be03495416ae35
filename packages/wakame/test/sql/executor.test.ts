import { describe, expect, test } from 'vitest';
import type { Mode, Session } from '../../src/transports/sql/backend.js';
import { Effects } from '../../src/transports/sql/context.js';
import { Executor, type JobMode, type MergedKind } from '../../src/transports/sql/executor.js';
import { run, runSync, type Steps } from '../../src/transports/sql/steps.js';

/** Runs jobs submitted in one turn, each one statement by its name. Gives the transactions. */
async function transactionsOf(
  jobs: readonly (readonly [mode: JobMode | MergedKind, name: string])[],
  takesLast: boolean,
): Promise<string[]> {
  const transactions: string[] = [];
  const session = {
    transact<T>(mode: Mode, work: () => Steps<T>): T {
      const statements: string[] = [];
      const result = runSync(work(), ({ text }) => {
        statements.push(text);
        return { rows: [], changes: 0, insertId: 0 };
      });
      transactions.push(`${mode}: ${statements.join(' ')}`);
      return result;
    },
  } as unknown as Session;
  const executor = new Executor({
    session,
    takesLast,
    errors: { failureOf: () => 'failed', classify: (error) => error as never },
    effects: new Effects(),
    timeout: 1000,
    announce: () => run('announce') as never,
    committed: () => undefined,
    lost: () => undefined,
  });
  const submit = (mode: JobMode | MergedKind, name: string): Promise<unknown> => {
    if (mode !== 'send' && mode !== 'settle') return executor.submit(mode, () => run(name));
    return executor.merge(mode, [name], function* (names) {
      yield* run(names.join('+'));
      return names;
    });
  };
  await Promise.all(jobs.map(([mode, name]) => submit(mode, name)));
  return transactions;
}

describe('what is submitted in one turn is one transaction', () => {
  const jobs = [
    ['write', 'settle'],
    ['take', 'take'],
    ['read', 'look'],
    ['take', 'take again'],
    ['write', 'settle again'],
    ['read', 'look again'],
  ] as const;

  test('where there is one writer at a time', async () => {
    expect(await transactionsOf(jobs, false)).toEqual(['write: settle take look take again settle again look again']);
  });

  test('and else but for what might wait for others while it holds what was taken', async () => {
    expect(await transactionsOf(jobs, true)).toEqual([
      'write: settle take look take again',
      'write: settle again look again',
    ]);
  });

  test('in which what is settled comes before what is sent, as it is older: all is locked in the order of the messages', async () => {
    const jobs = [
      ['send', 'send 1'],
      ['read', 'look'],
      ['settle', 'settle 1'],
      ['send', 'send 2'],
      ['settle', 'settle 2'],
      ['write', 'declare'],
      ['settle', 'settle 3'],
    ] as const;
    expect(await transactionsOf(jobs, true)).toEqual(['write: settle 1+settle 2 send 1+send 2 look declare settle 3']);
  });

  test('but for what can be part of none', async () => {
    expect(
      await transactionsOf(
        [
          ['write', 'settle'],
          ['alone', 'improve'],
          ['read', 'look'],
          ['alone', 'improve again'],
        ],
        false,
      ),
    ).toEqual(['write: settle', 'read: improve', 'read: look', 'read: improve again']);
  });

  test('reads that come first need no lock, and wait for none', async () => {
    expect(
      await transactionsOf(
        [
          ['read', 'look'],
          ['read', 'count'],
          ['take', 'take'],
        ],
        true,
      ),
    ).toEqual(['read: look count', 'write: take']);
  });
});
