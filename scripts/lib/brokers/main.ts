/** The command `scripts/brokers`. */
import { parseArgs } from 'node:util';
import { brokersNamed, down, type Status, status, up } from './index.ts';

const usage = 'usage: scripts/brokers up|down|status [--json] [name…]';

try {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { json: { type: 'boolean', default: false } },
  });
  const [action, ...names] = positionals;
  const which = brokersNamed(names);
  if (action === 'up') {
    const all: Status[] = [];
    for (const broker of which) all.push(await up(broker, { keep: true }));
    report(all, values.json);
  } else if (action === 'down') {
    await down(which);
  } else if (action === 'status') {
    const all = await Promise.all(which.map(status));
    for (const { broker, state } of all) console.error(`${broker.name}: ${state}`);
    report(all, values.json);
    if (all.some(({ state }) => state === 'stopped')) process.exitCode = 1;
  } else {
    throw new Error(usage);
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
}

/** To standard output what tests need in their environment: `eval "$(scripts/brokers up)"`. */
function report(all: readonly Status[], json: boolean): void {
  const variables = Object.assign({}, ...all.map((one) => one.variables)) as Record<string, string>;
  if (json) console.log(JSON.stringify(variables, undefined, 2));
  else for (const [name, value] of Object.entries(variables)) console.log(`export ${name}='${value}'`);
}
