/** One measurement of what happens within one process: `measure.ts <adapter> <scenario> <warm-up> <measure>`. */

import type { Budget, Sample } from '../lib/sample.ts';
import { envelopes } from './envelope.ts';
import { memoryCycle } from './memory.ts';

const runs: Readonly<Record<string, (budget: Budget) => Promise<Sample>>> = {
  'wakame/memory-cycle': memoryCycle,
  ...envelopes,
};

const [adapter, scenario, warmUp, measure] = process.argv.slice(2);
const run = runs[`${adapter}/${scenario}`];
if (run === undefined) throw new Error(`no scenario ${scenario} of ${adapter}`);
const sample = await run({ warmUp: Number(warmUp), measure: Number(measure), most: Number.POSITIVE_INFINITY });
const rss = process.resourceUsage().maxRSS * 1024;
process.stdout.write(`${JSON.stringify({ ...sample, rss })}\n`, () => process.exit());
