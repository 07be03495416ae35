/** `memory://`: messages go round, a window of 256 of them. */
import { Connection, Queue } from 'wakame';
import { type Budget, type Sample, timed } from '../lib/sample.ts';

const WINDOW = 256;

export async function memoryCycle(budget: Budget): Promise<Sample> {
  const connection = await new Connection('memory://bench').connect();
  const queue = new Queue('bench');
  const producer = connection.producer({ routingKey: 'bench' });
  const body = { id: 4711, name: 'lolcat.avi', size: 1_301_013, tags: ['cat', 'funny', 'video'], rating: 4.75 };
  let goOn: (() => void) | undefined;
  const consumer = connection.consumer(queue, {
    prefetch: WINDOW,
    onMessage(message) {
      void message.ack();
      goOn?.();
    },
  });
  await consumer.consume();
  return timed(budget, false, (more, finished) => {
    let left = 0;
    let going = true;
    const publish = () => {
      left++;
      producer.publish(body).catch(finished);
    };
    goOn = () => {
      left--;
      going &&= more();
      if (going) publish();
      else if (left === 0) finished();
    };
    for (let i = 0; i < WINDOW; i++) publish();
  });
}
