/** Has a Celery worker add two numbers: node examples/celery/call.ts [url] [queue] */
import { Connection } from 'wakame';
import { TaskClient, TaskFailed } from './celery.ts';

const [url = 'amqp://guest:guest@localhost:5672//', queue = 'celery'] = process.argv.slice(2);
await using connection = new Connection(url);
await using client = new TaskClient(connection);

console.log('2 + 3 =', await client.call('tasks.add', [2, 3], { queue }));
console.log('4 + 5 =', await client.call('tasks.add', [4], { queue, kwargs: { y: 5 } }));
try {
  await client.call('tasks.divide', [1, 0], { queue });
} catch (error) {
  if (!(error instanceof TaskFailed)) throw error;
  console.log('1 / 0:', error.message);
}

// Prints:
// 2 + 3 = 5
// 4 + 5 = 9
// 1 / 0: ZeroDivisionError: division by zero
