import { markdownFiles } from '../../docs/site/links.ts';
import { brokers, status } from '../lib/brokers/index.ts';
import { runPrograms, typeErrors, writePrograms } from '../lib/code-blocks/check.ts';

/** The TypeScript in all Markdown pages: it compiles, and what can run does, on the brokers of the tests. Needs the build. */
export async function codeBlocks(): Promise<void> {
  for (const { broker, state, variables } of await Promise.all(brokers.map(status))) {
    if (state === 'stopped') throw new Error(`not running: ${broker.title}: scripts/brokers up`);
    Object.assign(process.env, variables);
  }
  const programs = writePrograms(markdownFiles);
  const errors = await typeErrors(programs);
  for (const error of errors) console.error(error);
  if (errors.length > 0) throw new Error(`${errors.length} errors in the code of the documentation`);
  await runPrograms(programs);
}
