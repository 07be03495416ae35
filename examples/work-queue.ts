/** A work queue: each task goes to one of the workers, the urgent ones first. */
import { Connection, Queue } from 'wakame';
import { url } from './url.ts';

interface Task {
  name: string;
}

const tasks = new Queue<Task>('examples.tasks', { maxPriority: 9 });
const priorities = { low: 0, mid: 5, high: 9 };

// On Redis, where Python shares the lists, its order is the rule: the lowest first.
const transportOptions = url.startsWith('redis') ? { priority_order: 'amqp' } : {};
await using connection = new Connection(url, { transportOptions });
const producer = connection.producer({ routingKey: tasks.name });
for (const [name, priority] of Object.entries(priorities)) {
  await producer.publish({ name: `${name} one` }, { priority, declare: [tasks] });
  await producer.publish({ name: `${name} two` }, { priority, declare: [tasks] });
}

const finished: string[] = [];
const done = Promise.withResolvers<void>();
await using worker = connection.consumer(tasks, {
  prefetch: 1,
  settle: 'auto',
  onMessage: (message) => {
    finished.push(message.payload.name);
    if (finished.length === 6) done.resolve();
  },
});
await worker.consume();
await done.promise;
console.log(finished.join(', '));
await worker.close();
await tasks.bind(connection).delete();

// Prints:
// high one, high two, mid one, mid two, low one, low two
