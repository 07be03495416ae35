/**
 * A mailbox's client: commands every node that listens, here or in Python (interop/python/mailbox_node.py), and shows their replies.
 *
 *     node examples/mailbox/client.ts amqp://guest:guest@localhost:5672//
 */
import { Connection, Mailbox } from 'wakame';

const [url] = process.argv.slice(2);

await using connection = new Connection(url);
const mailbox = new Mailbox('testMailbox', { type: 'fanout', connection });

// Whoever answers within a second of silence.
for (const reply of await mailbox.multiCall('print_msg', { msg: 'Message from Node' })) {
  console.log(`${reply.hostname}: ${reply.error ?? JSON.stringify(reply.value)}`);
}
