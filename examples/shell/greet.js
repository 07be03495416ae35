// Messages in, messages out: a line each.
import { createInterface } from 'node:readline';

for await (const line of createInterface({ input: process.stdin })) {
  const { body } = JSON.parse(line);
  console.log(JSON.stringify({ text: `Hello, ${body.to}!` }));
}
