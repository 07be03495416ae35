/**
 * Lets workers publish and consume while everything goes wrong, and accounts for every message:
 *
 *     npm run chaos -- amqp|redis|sqlite|postgresql|filesystem|cluster [--minutes N] [--seed S] [--messages N] [--json FILE]
 *
 * Ends with 0 if the account balances. docs/reliability.md says what is held to what.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brokersNamed, prepare } from '../scripts/lib/brokers/index.ts';
import { root } from '../scripts/setup.mjs';
import { account } from './account/account.ts';
import { report, toJson } from './account/report.ts';
import { Ledger, readLedger } from './ledger/ledger.ts';
import { type ChaosOptions, parseOptions, type StandName, USAGE } from './options.ts';
import { Run } from './run.ts';
import { openAmqp } from './stands/amqp.ts';
import { openCluster } from './stands/cluster.ts';
import { openFilesystem } from './stands/filesystem.ts';
import { openPostgresql } from './stands/postgresql.ts';
import { openRedis } from './stands/redis.ts';
import { openSqlite } from './stands/sqlite.ts';
import type { StandOpener } from './stands/stand.ts';
import { within } from './within.ts';

const stands: Record<StandName, { readonly broker?: string; readonly open: StandOpener }> = {
  amqp: { broker: 'rabbitmq', open: openAmqp },
  redis: { broker: 'redis', open: openRedis },
  sqlite: { open: openSqlite },
  postgresql: { broker: 'postgresql', open: openPostgresql },
  filesystem: { open: openFilesystem },
  cluster: { broker: 'rabbitmq', open: openCluster },
};

/** Milliseconds until servers and proxies must be gone. */
const LONGEST_CLOSE = 90_000;

async function main(options: ChaosOptions): Promise<void> {
  const { stand: name, seed, minutes, messages } = options;
  const folder = join(root, '.cache', 'chaos', `${name}-${seed}-${process.pid}`);
  mkdirSync(folder, { recursive: true });
  const begun = performance.now();
  const say = (text: string) => console.log(`${((performance.now() - begun) / 1000).toFixed(1).padStart(7)}  ${text}`);
  say(`chaos ${name}: ${minutes} min, seed ${seed}, ${messages} messages; ${folder}`);

  const { broker, open } = stands[name];
  if (broker !== undefined) for (const needed of brokersNamed([broker])) await prepare(needed);
  const stand = await open({ name: `chaos-${process.pid}`, folder, perSecond: messages / (minutes * 60) });
  // Servers outlive this process; it does not leave them behind.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => void stand.close().finally(() => process.exit(130)));
  }
  const ledger = new Ledger(join(folder, 'ledger.jsonl'));
  try {
    await new Run(stand, options, folder, ledger, say).run();
  } finally {
    ledger.close();
    await within(`the stand ${name} to close`, LONGEST_CLOSE, stand.close());
  }

  const result = account(readLedger(ledger.file));
  console.log(`\n${report(result)}`);
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(toJson(result), undefined, 2)}\n`);
  if (result.violations.length > 0) {
    console.log(`The log: ${folder}`);
    process.exitCode = 1;
  } else {
    rmSync(folder, { recursive: true });
  }
}

let options: ChaosOptions | undefined;
try {
  options = parseOptions(process.argv.slice(2));
} catch (error) {
  console.error(`${(error as Error).message}\n${USAGE}`);
  process.exitCode = 2;
}
if (options !== undefined) await main(options);
// Nothing is open any more: the process ends by itself.
setTimeout(() => {
  console.error(`still open at the end: ${process.getActiveResourcesInfo().join(', ')}`);
  process.exit(1);
}, LONGEST_CLOSE).unref();
