/** Told to end, a service finishes what it has begun: no message is lost, none handled twice. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Connection, type ConsumerFactory, ConsumerMixin, Queue } from 'wakame';
import { url } from './url.ts';

const jobs = new Queue<string>('examples.jobs');

class Worker extends ConsumerMixin {
  override getConsumers(consumer: ConsumerFactory) {
    const onMessage = async ({ payload }: { payload: string }) => {
      console.log(`${payload} begun`);
      // Stands for whoever stops the service, in the middle of its work.
      process.kill(process.pid, 'SIGTERM');
      await sleep(100);
      console.log(`${payload} done`);
    };
    return [consumer(jobs, { settle: 'auto', onMessage })];
  }
}

const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());

await using connection = new Connection(url);
const producer = connection.producer({ routingKey: jobs.name });
for (const job of ['first', 'second']) await producer.publish(job, { declare: [jobs] });

await new Worker(connection).run({ signal: stop.signal });
console.log(`stopped; jobs left: ${await jobs.bind(connection).delete()}`);

// Prints:
// first begun
// first done
// stopped; jobs left: 1
