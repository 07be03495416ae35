/** The command `scripts/peers`. */
import { isMade, make, peersNamed, remove } from './index.ts';

const [action, ...names] = process.argv.slice(2);
try {
  const which = peersNamed(names);
  if (action === 'up') {
    await Promise.all(which.map(async (name) => console.log(`${name}: ${await make(name)}`)));
  } else if (action === 'down') {
    await Promise.all(which.map(remove));
  } else if (action === 'status') {
    for (const name of which) console.log(`${name}: ${isMade(name) ? 'stands' : 'missing'}`);
    if (!which.every(isMade)) process.exitCode = 1;
  } else {
    throw new Error('usage: scripts/peers up|down|status [name…]');
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
}
