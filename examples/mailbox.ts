/** A mailbox: commands to processes by their names, and the replies. examples/mailbox/ has the same as two programs. */
import { Connection, Mailbox } from 'wakame';
import { url } from './url.ts';

const mailbox = new Mailbox('examples.mailbox', { type: 'fanout' });

// Each of these would be a process of its own.
const connections = ['kitchen', 'galley'].map((hostname) => ({ hostname, connection: new Connection(url) }));
for (const { hostname, connection } of connections) {
  const node = mailbox.bind(connection).node(hostname, { state: { pots: 1 } });
  node.handler('boil', ({ liters }, { state }) => {
    if (Number(liters) > state.pots * 10) throw new RangeError('not enough pots');
    return `${String(liters)} l are boiling`;
  });
  node.handler('buy', ({ pots }, { state }) => {
    state.pots += Number(pots);
    return state.pots;
  });
  await node.listen();
}

await using connection = new Connection(url);
const chef = mailbox.bind(connection);

await chef.cast(['galley'], 'buy', { pots: 2 });
// One, some by pattern, or all of them.
const replies = [
  ...(await chef.call(['kitchen'], 'boil', { liters: 5 })),
  ...(await chef.multiCall('boil', { liters: 30 }, { pattern: 'g*', limit: 1 })),
  ...(await chef.call(['kitchen', 'galley'], 'boil', { liters: 20 })),
];
const lines = replies.map((reply) => `${reply.hostname}: ${reply.error ?? String(reply.value)}`);
// The last two come in the order in which the nodes answered.
console.log([...lines.slice(0, 2), ...lines.slice(2).sort()].join('\n'));

for (const each of connections) await each.connection.close();

// Prints:
// kitchen: 5 l are boiling
// galley: 30 l are boiling
// galley: 20 l are boiling
// kitchen: RangeError('not enough pots')
