/** One measurement of one client of AMQP, in a process of its own: `measure.ts <adapter> <scenario> <url> <warm-up> <measure> <most>`. */
import type { Adapter } from './adapter.ts';
import { scenarioNamed } from './scenarios.ts';

const [name, scenario, url, warmUp, measure, most] = process.argv.slice(2);
const { adapter } = (await import(`./adapters/${name}.ts`)) as { readonly adapter: Adapter };
const chosen = scenarioNamed(scenario ?? '');
if (chosen === undefined || url === undefined) throw new Error(`no scenario ${scenario}`);

const budget = { warmUp: Number(warmUp), measure: Number(measure), most: Number(most) };
const sample = await chosen.run(adapter, url, budget);
const rss = process.resourceUsage().maxRSS * 1024;
process.stdout.write(`${JSON.stringify({ ...sample, rss })}\n`, () => process.exit());
