/** A node that ends its process in the middle of a command. Started by `exit.test.ts`. */
import { Connection, Mailbox } from 'wakame';

const [url, namespace = ''] = process.argv.slice(2);
const connection = new Connection(url);
const node = new Mailbox(namespace, { connection, queueDurable: true }).node('a');
node.handler('die', () => process.exit(7));
await node.listen();
process.send?.('listening');
