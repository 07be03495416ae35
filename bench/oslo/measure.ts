/** One measurement of one participant: `measure.ts <adapter> <scenario> <url> <warm-up> <measure>`. CPU is the client's; the server is another process. */
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { startServer, stopServers } from '../lib/processes.ts';
import { timed } from '../lib/sample.ts';
import { ARGUMENT } from './protocol.ts';
import { participants } from './server.ts';

const [name = '', scenario = '', url = '', warmUp, measure] = process.argv.slice(2);
const participant = participants[name];
if (participant === undefined) throw new Error(`no adapter ${name}`);
const outstanding = Number(/^calls-(\d+)$/.exec(scenario)?.[1]);
if (!(outstanding > 0)) throw new Error(`no scenario ${scenario}`);

const topic = `bench-${randomUUID()}`;
await startServer(fileURLToPath(new URL('server.ts', import.meta.url)), [name, url, topic]);
const client = await participant.client(url, topic);
const budget = { warmUp: Number(warmUp), measure: Number(measure), most: 1e12 };

const sample = await timed(budget, outstanding === 1, (more, finished) => {
  let going = true;
  const caller = async () => {
    while (going) {
      if ((await client.echo(ARGUMENT)) !== ARGUMENT) throw new Error("another call's answer");
      if (!more()) going = false;
    }
  };
  Promise.all(Array.from({ length: outstanding }, caller)).then(() => finished(), finished);
});
const rss = process.resourceUsage().maxRSS * 1024;
stopServers();
process.stdout.write(`${JSON.stringify({ ...sample, rss })}\n`, () => process.exit());
