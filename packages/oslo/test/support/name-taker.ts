/** A process that takes a name for a queue, says it, and keeps it until it is killed: name-taker.ts <process name>. */
import { takeName } from '../../src/queue-names.ts';

const [processname = ''] = process.argv.slice(2);
const { text } = await takeName({ use_queue_manager: true, hostname: 'dies', processname });
console.log(text);
setInterval(() => undefined, 1000);
