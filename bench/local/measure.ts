/** One measurement of what happens within one process: `measure.ts <adapter> <scenario> <warm-up> <measure> [url]`. */
import type { Budget, Sample } from '../lib/sample.ts';
import { envelopes } from './envelope.ts';
import { queueLength, topicBindings } from './growth.ts';
import { memoryCycle } from './memory.ts';

const [adapter, scenario, warmUp, measure, url] = process.argv.slice(2);

const runs: Readonly<Record<string, (budget: Budget) => Promise<Sample>>> = {
  'wakame/memory-cycle': memoryCycle,
  ...envelopes,
};

/** With one thing growing: `<scenario>@<how many>`. */
const growing: Readonly<Record<string, (count: number, budget: Budget) => Promise<Sample>>> = {
  'wakame/bindings': topicBindings,
};

function runNamed(name: string): ((budget: Budget) => Promise<Sample>) | undefined {
  const [grown = '', count] = name.split('@');
  if (grown.endsWith('/queue-length')) return (budget) => queueLength(url ?? '', Number(count), budget);
  const of = growing[grown];
  return count === undefined ? runs[name] : of && ((budget) => of(Number(count), budget));
}

const run = runNamed(`${adapter}/${scenario}`);
if (run === undefined) throw new Error(`no scenario ${scenario} of ${adapter}`);
const sample = await run({ warmUp: Number(warmUp), measure: Number(measure), most: Number.POSITIVE_INFINITY });
const rss = process.resourceUsage().maxRSS * 1024;
process.stdout.write(`${JSON.stringify({ ...sample, rss })}\n`, () => process.exit());
