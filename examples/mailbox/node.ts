/**
 * A mailbox's node: a process that others command by its name. Start it, then examples/mailbox/client.ts, or Kombu's half of it:
 * interop/python/mailbox_client.py.
 *
 *     node examples/mailbox/node.ts amqp://guest:guest@localhost:5672// kitchen
 */
import { once } from 'node:events';
import { Connection, Mailbox } from 'wakame';

const [url, hostname] = process.argv.slice(2);

await using connection = new Connection(url);
// Everybody who uses a mailbox gives the same name and type.
const mailbox = new Mailbox('testMailbox', { type: 'fanout', connection });

const stopped = new AbortController();
const node = mailbox.node(hostname, { state: { printed: 0 } });

node.handler('print_msg', ({ msg }, { state }) => {
  console.log(String(msg));
  state.printed += 1;
  return state.printed;
});
node.handler('stop', () => {
  stopped.abort();
  return 'stopping';
});

await node.listen();
console.log('ready');
if (!stopped.signal.aborted) await once(stopped.signal, 'abort');
// Waits until the last reply is out.
await node.close();
