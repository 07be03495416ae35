/** What TypeScript infers for users of entities, producers and consumers. Checked by the compiler; nothing of it runs. */
import { describe, expectTypeOf, test } from 'vitest';
import { Connection } from '../../src/connection/index.js';
import { type Exchange, Queue } from '../../src/entities/index.js';
import type { MessagingError } from '../../src/errors.js';
import {
  Consumer,
  type FailureInfo,
  type LostMessage,
  type Message,
  Producer,
  type PublishOptions,
  type PublishResult,
  type StandardSchemaV1,
} from '../../src/messaging/index.js';
import type { Returned } from '../../src/transport/contract.js';

interface Video {
  readonly name: string;
  readonly size: number;
}

/** Reads text into videos: what is published is not what is received. */
declare const videoFromText: StandardSchemaV1<string, Video>;
declare const video: StandardSchemaV1<Video>;
declare const connection: Connection;

/** Compiled, not run. */
function typesOnly(_check: () => unknown): void {
  // On purpose.
}

/** For what is made only to see whether it compiles. */
function compiles(..._what: unknown[]): void {
  // On purpose.
}

describe('queues', () => {
  test('an untyped queue has unknown payloads', () => {
    typesOnly(() => {
      const queue = new Queue('q');
      expectTypeOf(queue).toEqualTypeOf<Queue<unknown>>();
      expectTypeOf(queue.get()).resolves.toEqualTypeOf<Message<unknown> | undefined>();
      expectTypeOf<Message['payload']>().toBeUnknown();
    });
  });

  test('T is stated, or inferred from the schema’s output', () => {
    typesOnly(() => {
      expectTypeOf(new Queue<Video>('q').bind(connection).get()).resolves.toEqualTypeOf<Message<Video> | undefined>();
      expectTypeOf(new Queue('q', { schema: videoFromText })).toEqualTypeOf<Queue<Video>>();
      expectTypeOf(new Queue('q', { schema: video, durable: false })).toEqualTypeOf<Queue<Video>>();
      // @ts-expect-error A schema of something else does not make it a queue of videos.
      compiles(new Queue<Video>('q', { schema: {} as StandardSchemaV1<unknown, number> }));
    });
  });

  test('binding keeps the type, also of a class of one’s own', () => {
    typesOnly(() => {
      class Special extends Queue<Video> {
        readonly special = 1;
      }
      expectTypeOf(new Special('q').bind(connection)).toEqualTypeOf<Special>();
      expectTypeOf(new Queue<Video>('q').bind(connection.channel())).toEqualTypeOf<Queue<Video>>();
    });
  });

  test('a queue of videos is a queue of unknown, not the other way round', () => {
    expectTypeOf<Queue<Video>>().toExtend<Queue>();
    expectTypeOf<Queue>().not.toExtend<Queue<Video>>();
  });

  test('callbacks of consume get messages of the queue’s type', () => {
    typesOnly(() =>
      new Queue<Video>('q').consume({
        callback: (message) => expectTypeOf(message).toEqualTypeOf<Message<Video>>(),
        onDecodeError: (message, error) => {
          expectTypeOf(message).toEqualTypeOf<Message<unknown>>();
          expectTypeOf(error).toEqualTypeOf<MessagingError>();
        },
      }),
    );
  });

  test('options that may be absent may be undefined', () => {
    typesOnly(() => new Queue('q', { exchange: undefined, maxLength: undefined, schema: undefined }));
  });
});

describe('consumers', () => {
  test('rascal#49, DefinitelyTyped#72093: T comes from the queues', () => {
    typesOnly(() => {
      const one = new Consumer(connection, { queues: new Queue<Video>('q') });
      expectTypeOf(one).toEqualTypeOf<Consumer<Video>>();
      const [videos, numbers] = [new Queue<Video>('a'), new Queue<number>('b')];
      expectTypeOf(connection.consumer([videos, numbers])).toEqualTypeOf<Consumer<Video | number>>();
      connection.consumer([videos, numbers], {
        onMessage: ({ payload }) => expectTypeOf(payload).toEqualTypeOf<Video | number>(),
      });
      expectTypeOf(new Consumer<Video | number>(connection, { queues: [videos, numbers] })).toEqualTypeOf<
        Consumer<Video | number>
      >();
      expectTypeOf(connection.consumer(videos)).toEqualTypeOf<Consumer<Video>>();
      expectTypeOf(connection.consumer('by name')).toEqualTypeOf<Consumer<unknown>>();
      expectTypeOf(connection.consumer<Video>(['by name'])).toEqualTypeOf<Consumer<Video>>();
      expectTypeOf(connection.consumer([videos, numbers], { schema: video })).toEqualTypeOf<Consumer<Video>>();
      expectTypeOf(new Consumer(connection, { queues: 'by name' })).toEqualTypeOf<Consumer<unknown>>();
      expectTypeOf(new Consumer(connection)).toEqualTypeOf<Consumer<unknown>>();
      expectTypeOf(new Consumer<Video>(connection, { queues: ['a', 'b'] })).toEqualTypeOf<Consumer<Video>>();
    });
  });

  test('a schema of the consumer’s own wins over the queues', () => {
    typesOnly(() => {
      expectTypeOf(new Consumer(connection, { queues: new Queue('q'), schema: video })).toEqualTypeOf<
        Consumer<Video>
      >();
      const other = new Consumer(connection, { queues: [new Queue<number>('q'), 'named'], schema: videoFromText });
      expectTypeOf(other).toEqualTypeOf<Consumer<Video>>();
    });
  });

  test('handlers get the type', () => {
    typesOnly(() => {
      compiles(
        new Consumer(connection, {
          queues: new Queue<Video>('q'),
          callbacks: [
            (body, message) => {
              expectTypeOf(body).toEqualTypeOf<Video>();
              expectTypeOf(message).toEqualTypeOf<Message<Video>>();
            },
          ],
          onHandlerError: (message, error, info) => {
            expectTypeOf(message).toEqualTypeOf<Message<Video>>();
            expectTypeOf(error).toBeUnknown();
            expectTypeOf(info).toEqualTypeOf<FailureInfo>();
            return info.attempts > 1 ? 'reject' : 'requeue';
          },
        }),
      );
      compiles(
        new Consumer(connection, {
          schema: video,
          onMessage: ({ payload }) => expectTypeOf(payload).toEqualTypeOf<Video>(),
        }),
      );
      compiles(
        new Consumer(connection, {
          onHandlerError: async (message) => {
            await message.reject();
          },
        }),
      );
      // @ts-expect-error There is no such decision.
      compiles(new Consumer(connection, { onHandlerError: () => 'retry' }));
    });
  });

  test('iteration yields messages', () => {
    typesOnly(async () => {
      for await (const message of new Consumer(connection, { queues: new Queue<Video>('q') })) {
        expectTypeOf(message).toEqualTypeOf<Message<Video>>();
        expectTypeOf(message.payload.name).toBeString();
        expectTypeOf(message.ack()).resolves.toBeBoolean();
        expectTypeOf(message.deliveryTag).toBeUnknown();
      }
    });
  });

  test('events are typed', () => {
    typesOnly(() => {
      const consumer = new Consumer(connection, { queues: new Queue<Video>('q') });
      consumer.on('handlerError', (error, message, info) => {
        expectTypeOf(error).toEqualTypeOf<Error>();
        expectTypeOf(message).toEqualTypeOf<Message<Video>>();
        expectTypeOf(info.attempts).toBeNumber();
      });
      consumer.on('decodeError', (error, message) => {
        expectTypeOf(error).toEqualTypeOf<MessagingError>();
        expectTypeOf(message).toEqualTypeOf<Message<unknown>>();
      });
      consumer.on('cancelled', (queue, error, over) => {
        expectTypeOf(queue).toBeString();
        expectTypeOf(error).toEqualTypeOf<MessagingError>();
        expectTypeOf(over).toBeBoolean();
      });
      consumer.on('stale', (message) => expectTypeOf(message).toEqualTypeOf<Message<Video>>());
      expectTypeOf(consumer.consume()).resolves.toEqualTypeOf<Consumer<Video>>();
    });
  });
});

describe('producers', () => {
  test('T comes from the schema’s input, or is stated, or is anything', () => {
    typesOnly(() => {
      expectTypeOf(new Producer(connection)).toEqualTypeOf<Producer<unknown>>();
      expectTypeOf(new Producer<Video>(connection)).toEqualTypeOf<Producer<Video>>();
      expectTypeOf(new Producer(connection, { schema: videoFromText })).toEqualTypeOf<Producer<string>>();
      expectTypeOf(new Producer(connection, { schema: video })).toEqualTypeOf<Producer<Video>>();
    });
  });

  test('publish takes a T and tells the attempts', () => {
    typesOnly(() => {
      const producer = new Producer(connection, { schema: video });
      expectTypeOf(producer.publish({ name: 'a', size: 1 })).resolves.toEqualTypeOf<PublishResult>();
      // @ts-expect-error Something is missing.
      void producer.publish({ name: 'a' });
      // @ts-expect-error Misspelt.
      void producer.publish({ name: 'a', size: 1 }, { routingkey: 'k' });
      expectTypeOf(producer.flush()).resolves.toBeVoid();
    });
  });

  test('replyTo and declare take queues of any type', () => {
    typesOnly(() => {
      const queue = new Queue<Video>('q');
      const options: PublishOptions = { replyTo: queue, declare: [queue, {} as Exchange], exchange: {} as Exchange };
      return options;
    });
  });

  test('events are typed', () => {
    typesOnly(() => {
      const producer = new Producer(connection);
      producer.on('returned', (returned) => expectTypeOf(returned).toEqualTypeOf<Returned>());
      producer.on('lost', (error, message) => {
        expectTypeOf(error).toEqualTypeOf<MessagingError>();
        expectTypeOf(message).toEqualTypeOf<LostMessage>();
      });
    });
  });

  test('a channel stands for its connection', () => {
    typesOnly(() => {
      compiles(new Producer(connection.channel()));
      compiles(new Consumer(connection.channel(), { queues: [] }));
      expectTypeOf(new Producer(new Connection()).connection).toEqualTypeOf<Connection>();
    });
  });
});
