// Each line of `wakame consume --json` is a message.
import { createInterface } from 'node:readline';

for await (const line of createInterface({ input: process.stdin })) {
  const { queue, body } = JSON.parse(line);
  console.log(`order ${body.id} in ${queue}`);
}
