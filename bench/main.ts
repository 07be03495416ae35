/**
 * npm run bench [-- options]: measures Wakame beside the clients that could be used instead of it, prints tables, and writes them into
 * docs/performance.md.
 *
 *   --rounds N      how often each is measured (default 5)
 *   --ms N          milliseconds of CPU of each measurement, and of the warm-up before it (default 700)
 *   --only TEXT,…   only scenarios with one of these in `suite/scenario` or `suite/scenario/adapter`; nothing is written then
 *   --skip TEXT,…   all but scenarios with one of these in that name
 *   --growth        only the plots of docs/performance/: how cost grows with size and number (part of a whole run, too)
 *   --tables        only the tables, which take three quarters of the time of a whole run
 *   --quick         one short round of a few: that it works, nothing else
 */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { brokersNamed, release, up } from '../scripts/lib/brokers/index.ts';
import { type RedisServer, startRedis } from '../scripts/lib/brokers/redis.ts';
import { curveCases, curves, STORES } from './growth/curves.ts';
import { writePlots } from './growth/write.ts';
import { fetchKombu } from './lib/kombu.ts';
import { fetchPeers } from './lib/peers.ts';
import { startServer, stopServers } from './lib/processes.ts';
import { type Case, type Result, runRounds } from './lib/run.ts';
import { report, writeReport } from './report.ts';
import { nullBroker, nullBrokerCases, rabbitmq, rabbitmqCases } from './suites/amqp.ts';
import { local, localCases } from './suites/local.ts';
import { fetchOslo, oslo, osloCases } from './suites/oslo.ts';
import { redis, redisCases } from './suites/redis.ts';
import { sql, sqlCases } from './suites/sql.ts';
import type { Suite, Wanted } from './suites/suite.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string' },
    ms: { type: 'string' },
    only: { type: 'string' },
    skip: { type: 'string' },
    growth: { type: 'boolean', default: false },
    tables: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
  },
});
const quick = values.quick;
const rounds = quick ? 1 : Number(values.rounds ?? 5);
if (!Number.isInteger(rounds) || rounds < 1) throw new RangeError(`--rounds must be a whole number above 0`);
const ms = Number(values.ms ?? (quick ? 30 : 700));
if (!(ms > 0)) throw new RangeError('--ms must be a number above 0');
const times = { warmUp: ms, measure: ms };
const only = values.only?.split(',');
const skipped = values.skip?.split(',') ?? [];
const growth = values.growth || (!quick && !values.tables && only === undefined);

/** With --quick: every participant once, and ours a little more. */
const QUICK =
  /^(confirm-256\/(?!kombu)|memory-cycle\/wakame|(publish-celery|consume-json|consumers-100|round-trip|unconfirmed)\/wakame)/;

function wantedIn(suite: Suite): Wanted {
  return (scenario, adapter) => {
    if (quick) return QUICK.test(`${scenario}/${adapter}`);
    const name = `${suite.name}/${scenario}/${adapter}`;
    if (skipped.some((text) => name.includes(text))) return false;
    return only?.some((text) => name.includes(text)) ?? true;
  };
}

/** What is to be done at the end. */
const cleanUp: (() => Promise<void>)[] = [];

async function main(): Promise<Result[]> {
  await fetchPeers();
  if (!quick && !values.growth) await fetchKombu();
  const port = await startServer(fileURLToPath(new URL('amqp/null-broker.ts', import.meta.url)));
  const url = `amqp://guest:guest@127.0.0.1:${port}/`;
  if (growth) writePlots(await runRounds(await growthCases(url), rounds));
  if (values.growth) return [];
  const cases: Case[] = nullBrokerCases({ url, ...times, wanted: wantedIn(nullBroker) });
  cases.push(...localCases(times, wantedIn(local)));
  if (!quick) cases.push(...sqlCases(wantedIn(sql)));
  if (!quick) cases.push(...(await onRabbitmq()), ...(await onRedis()), ...(await callsOnRabbitmq()));
  // A whole run takes an hour: what there is when it ends early is worth having.
  const isWhole = !quick && only === undefined;
  return await runRounds(cases, rounds, isWhole ? writeReport : undefined);
}

async function growthCases(nullBrokerUrl: string): Promise<Case[]> {
  const shorter = { warmUp: ms / 2, measure: ms / 2 };
  const chosen = curves.filter(({ id }) => only?.includes(id) ?? true);
  const folder = mkdtempSync(join(tmpdir(), 'wakame-bench-'));
  cleanUp.push(async () => rmSync(folder, { recursive: true }));
  const [data, control] = ['data', 'control'].map((name) => join(folder, name));
  mkdirSync(data!);
  const hasStores = chosen.some(({ adapters }) => adapters === STORES);
  const urls: Readonly<Record<string, string>> = {
    memory: 'memory://bench',
    sqlite: `sqlite:${join(folder, 'bench.db')}`,
    filesystem: `filesystem://?${new URLSearchParams({ data_folder_in: data!, data_folder_out: data!, control_folder: control! })}`,
    ...(hasStores ? { redis: (await freshRedis()).url, postgresql: await postgresqlUrl() } : {}),
  };
  return chosen.flatMap((curve) => curveCases(curve, (adapter) => urls[adapter] ?? nullBrokerUrl, shorter));
}

async function postgresqlUrl(): Promise<string> {
  const [broker] = brokersNamed(['postgresql']);
  const { variables } = await up(broker!, { keep: false });
  return variables.WAKAME_TEST_POSTGRESQL_URL ?? '';
}

async function onRabbitmq(): Promise<Case[]> {
  const wanted = wantedIn(rabbitmq);
  const cases = (url: string) => rabbitmqCases({ url, ...times, wanted });
  return cases('').length === 0 ? [] : cases(await rabbitmqUrl());
}

async function callsOnRabbitmq(): Promise<Case[]> {
  const wanted = wantedIn(oslo);
  if (!oslo.titles.some(([scenario]) => oslo.adapters.some((adapter) => wanted(scenario, adapter)))) return [];
  await fetchOslo();
  return osloCases({ url: await rabbitmqUrl(), ...times, wanted });
}

async function rabbitmqUrl(): Promise<string> {
  const [broker] = brokersNamed(['rabbitmq']);
  const { variables } = await up(broker!, { keep: false });
  return variables.WAKAME_TEST_RABBITMQ_URL ?? '';
}

/** A server of the bench's own, which writes nothing to any disk. */
async function freshRedis(): Promise<RedisServer> {
  const [broker] = brokersNamed(['redis']);
  await up(broker!, { keep: false });
  const server = await startRedis({ name: 'bench', config: 'appendonly no\nsave ""' });
  cleanUp.push(() => server.kill());
  return server;
}

/** The server is emptied before each measurement. */
async function onRedis(): Promise<Case[]> {
  const wanted = wantedIn(redis);
  const cases = (url: string, clear: () => Promise<void>) => redisCases({ url, ...times, wanted, clear });
  if (cases('', async () => {}).length === 0) return [];
  const server = await freshRedis();
  return cases(server.url, async () => {
    await server.kill();
    await server.start({ fresh: true });
  });
}

try {
  const results = await main();
  if (!values.growth) console.log(report(results, !quick));
} finally {
  stopServers();
  for (const step of cleanUp) await step();
  if (!quick) await release();
}
