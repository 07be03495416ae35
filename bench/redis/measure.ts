/** One measurement of one client on Redis: `measure.ts <adapter> <scenario> <url> <warm-up> <measure> <most>`. */
import type { Sample } from '../lib/sample.ts';
import type { RedisAdapter } from './adapter.ts';
import { bare } from './bare.ts';
import { bullmq } from './bullmq.ts';
import { wakame } from './wakame.ts';

const adapters: Readonly<Record<string, RedisAdapter>> = { bare, bullmq, wakame };

const [name, scenario, url, warmUp, measure, most] = process.argv.slice(2);
const adapter = adapters[name ?? ''];
if (adapter === undefined || url === undefined) throw new Error(`no adapter ${name}`);

const budget = { warmUp: Number(warmUp), measure: Number(measure), most: Number(most) };
const run = { enqueue: adapter.enqueue, take: adapter.take }[scenario ?? ''];
if (run === undefined) throw new Error(`no scenario ${scenario}`);
const sample: Sample = await run(url, budget);
const rss = process.resourceUsage().maxRSS * 1024;
process.stdout.write(`${JSON.stringify({ ...sample, rss })}\n`, () => process.exit());
