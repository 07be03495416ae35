/**
 * What the compiler knows of payloads. Checked by `npm run typecheck`, never run.
 */
import { expectTypeOf, test } from 'vitest';
import {
  Broadcast,
  type Channel,
  type Connection,
  Consumer,
  type ConsumerFactory,
  ConsumerMixin,
  collectReplies,
  drainConsumer,
  insured,
  itermessages,
  type Message,
  nested,
  type PooledProducer,
  Producer,
  pools,
  producers,
  Queue,
  SimpleBuffer,
  SimpleQueue,
  type StandardSchemaV1,
  sendReply,
} from 'wakame';

interface Video {
  readonly name: string;
  readonly size: number;
}
interface Song {
  readonly title: string;
}
/** What is sent, before the schema has made a Video of it. */
interface Upload {
  readonly name: string;
  readonly size: string;
}

declare const connection: Connection;
declare const channel: Channel;
declare const schema: StandardSchemaV1<Upload, Video>;
declare const reading: StandardSchemaV1<unknown, Video>;
declare const videos: Queue<Video>;
declare const songs: Queue<Song>;
declare const untyped: Queue;
declare const message: Message<Video>;
declare function use(value: unknown): void;

test('Queue', () => {
  expectTypeOf(new Queue('q')).toEqualTypeOf<Queue<unknown>>();
  expectTypeOf(new Queue<Video>('q')).toEqualTypeOf<Queue<Video>>();
  expectTypeOf(new Queue('q', { schema: reading })).toEqualTypeOf<Queue<Video>>();
  expectTypeOf(new Queue('q', { schema: reading }).bind(connection)).toEqualTypeOf<Queue<Video>>();
  expectTypeOf(videos.bind(channel).get).returns.resolves.toEqualTypeOf<Message<Video> | undefined>();
  expectTypeOf(Queue.fromObject({ name: 'q' })).toEqualTypeOf<Queue<unknown>>();
  void videos.consume({ callback: (received) => expectTypeOf(received).toEqualTypeOf<Message<Video>>() });
  expectTypeOf(new Broadcast('news')).toEqualTypeOf<Broadcast<unknown>>();
  expectTypeOf(new Broadcast('news', { schema: reading })).toEqualTypeOf<Broadcast<Video>>();
  // Where the payload does not matter, any queue will do.
  expectTypeOf(videos).toExtend<Queue>();

  // @ts-expect-error an option that there is not
  use(new Queue('q', { durabel: true }));
  // @ts-expect-error the payload is a Video
  use(new Queue<Song>('q', { schema: reading }));
  // @ts-expect-error nobody said that it is a Video
  expectTypeOf(untyped).toExtend<Queue<Video>>();
  // @ts-expect-error a name, and only then options
  use(new Queue({ name: 'q' }));
  // @ts-expect-error an exchange there is already, with bindings of its own
  use(new Broadcast('news', { bindings: [] }));
});

test('Consumer', () => {
  expectTypeOf(new Consumer(connection, { queues: videos })).toEqualTypeOf<Consumer<Video>>();
  expectTypeOf(new Consumer(channel, { queues: [videos, videos] })).toEqualTypeOf<Consumer<Video>>();
  expectTypeOf(new Consumer(connection)).toEqualTypeOf<Consumer<unknown>>();
  expectTypeOf(new Consumer(connection, { queues: 'q' })).toEqualTypeOf<Consumer<unknown>>();
  expectTypeOf(new Consumer(connection, { queues: untyped, schema: reading })).toEqualTypeOf<Consumer<Video>>();

  expectTypeOf(connection.consumer(videos)).toEqualTypeOf<Consumer<Video>>();
  expectTypeOf(connection.consumer([videos, 'q'])).toEqualTypeOf<Consumer<Video>>();
  expectTypeOf(connection.consumer('q')).toEqualTypeOf<Consumer<unknown>>();
  expectTypeOf(connection.consumer()).toEqualTypeOf<Consumer<unknown>>();
  expectTypeOf(connection.consumer<Video>('q')).toEqualTypeOf<Consumer<Video>>();
  expectTypeOf(connection.consumer(new Queue('q', { schema: reading }))).toEqualTypeOf<Consumer<Video>>();
  expectTypeOf(connection.consumer('q', { schema: reading })).toEqualTypeOf<Consumer<Video>>();
  expectTypeOf(connection.consumer([untyped, songs], { schema: reading })).toEqualTypeOf<Consumer<Video>>();
  expectTypeOf(connection.consumer([videos, songs])).toEqualTypeOf<Consumer<Video | Song>>();
  expectTypeOf(connection.consumer([videos, untyped])).toEqualTypeOf<Consumer<unknown>>();

  connection.consumer(videos, {
    onMessage: (received) => expectTypeOf(received).toEqualTypeOf<Message<Video>>(),
    onHandlerError: (received, error, info) => {
      expectTypeOf(received.payload).toEqualTypeOf<Video>();
      expectTypeOf(error).toBeUnknown();
      expectTypeOf(info.attempts).toBeNumber();
      return 'reject';
    },
    onDecodeError: (received, error) => {
      expectTypeOf(received.payload).toBeUnknown();
      expectTypeOf(error.code).toExtend<string>();
    },
  });
  connection.consumer('q', {
    schema: reading,
    callbacks: (body, received) => {
      expectTypeOf(body).toEqualTypeOf<Video>();
      expectTypeOf(received).toEqualTypeOf<Message<Video>>();
    },
  });
  connection.consumer(untyped, { onMessage: (received) => expectTypeOf(received.payload).toBeUnknown() });
  expectTypeOf(connection.consumer(videos)[Symbol.asyncIterator]().next).returns.resolves.toEqualTypeOf<
    IteratorResult<Message<Video>, undefined>
  >();
  expectTypeOf(connection.consumer(videos).consume).returns.resolves.toExtend<Consumer<Video>>();

  // @ts-expect-error an option that there is not
  connection.consumer(videos, { prefech: 1 });
  // @ts-expect-error a mode that there is not
  connection.consumer(videos, { settle: 'sometimes' });
  // @ts-expect-error a decision that there is not
  connection.consumer(videos, { onHandlerError: () => 'drop' });
  // @ts-expect-error the payload is a Video
  connection.consumer(videos, { onMessage: (received: Message<Song>) => received });
  // @ts-expect-error it may be either
  connection.consumer([videos, songs], { onMessage: (received) => received.payload.title });
  // @ts-expect-error the queue says otherwise
  connection.consumer<Song>(videos);
  // @ts-expect-error nobody has said what the payload is
  connection.consumer('q', { onMessage: (received) => received.payload.name });
  // @ts-expect-error queues are the first argument
  connection.consumer(videos, { queues: songs });
});

test('events of a Consumer', () => {
  const consumer = connection.consumer(videos);
  consumer.on('handlerError', (error, received, info) => {
    expectTypeOf(error).toEqualTypeOf<Error>();
    expectTypeOf(received).toEqualTypeOf<Message<Video>>();
    expectTypeOf(info.maxAttempts).toBeNumber();
  });
  consumer.once('decodeError', (_error, received) => expectTypeOf(received.payload).toBeUnknown());
  consumer.on('cancelled', (queue, error, over) => {
    expectTypeOf(queue).toBeString();
    expectTypeOf(error.recoverable).toBeBoolean();
    expectTypeOf(over).toBeBoolean();
  });
  consumer.on('stale', (received) => expectTypeOf(received.payload).toEqualTypeOf<Video>());
  // @ts-expect-error the message comes second
  consumer.on('handlerError', (received: Message<Video>) => received);
});

test('events of a Connection and a Producer', () => {
  connection.on('connected', ({ host }) => expectTypeOf(host).toBeString());
  connection.on('disconnected', (error) => expectTypeOf(error.code).toExtend<string>());
  connection.on('recovered', ({ duration, cause }) => {
    expectTypeOf(duration).toBeNumber();
    expectTypeOf(cause.recoverable).toBeBoolean();
  });
  connection.on('failover', ({ from, to }) => expectTypeOf([from, to]).toEqualTypeOf<string[]>());
  connection.on('blocked', (reason) => expectTypeOf(reason).toBeString());
  connection.on('unroutable', (returned) => expectTypeOf(returned.routingKey).toBeString());
  connection.on('problem', (error) => expectTypeOf(error).toExtend<Error>());
  connection.on('closed', (...nothing) => expectTypeOf(nothing).toEqualTypeOf<[]>());
  const producer = connection.producer();
  producer.on('returned', (returned) => expectTypeOf(returned.exchange).toBeString());
  producer.on('lost', (error, lost) => {
    expectTypeOf(error.outcome).toEqualTypeOf<'not-sent' | 'refused' | 'unknown' | undefined>();
    expectTypeOf(lost.body).toEqualTypeOf<Uint8Array>();
  });
  // @ts-expect-error no argument
  connection.on('closed', (error: Error) => error);
  // @ts-expect-error a duration is a number
  connection.on('recovered', ({ duration }: { duration: string }) => duration);
});

test('Producer', () => {
  expectTypeOf(connection.producer()).toEqualTypeOf<Producer<unknown>>();
  expectTypeOf(connection.producer<Video>()).toEqualTypeOf<Producer<Video>>();
  // What is published is what the schema takes, not what it makes of it.
  expectTypeOf(connection.producer({ schema })).toEqualTypeOf<Producer<Upload>>();
  expectTypeOf(new Producer(channel, { schema })).toEqualTypeOf<Producer<Upload>>();
  expectTypeOf(connection.producer().publish).returns.resolves.toEqualTypeOf<{ readonly attempts: number }>();
  expectTypeOf(connection.producer({ schema }).publish).parameter(0).toEqualTypeOf<Upload>();
  void connection.producer().publish({ anything: true }, { declare: [videos, songs, untyped], replyTo: videos });
  expectTypeOf(producers.of(connection).acquire).returns.resolves.toEqualTypeOf<PooledProducer>();
  expectTypeOf(pools.reset).returns.resolves.toBeVoid();

  // @ts-expect-error a Video has a size
  void connection.producer<Video>().publish({ name: 'lolcat.avi' });
  // @ts-expect-error the schema takes strings
  void connection.producer({ schema }).publish({ name: 'lolcat.avi', size: 1 });
  // @ts-expect-error an option that there is not
  void connection.producer().publish(1, { routing_key: 'q' });
  // @ts-expect-error persistent, not durable
  void connection.producer().publish(1, { deliveryMode: 'durable' });
});

test('SimpleQueue', () => {
  expectTypeOf(connection.simpleQueue('q')).toEqualTypeOf<SimpleQueue<unknown>>();
  expectTypeOf(connection.simpleQueue<Video>('q')).toEqualTypeOf<SimpleQueue<Video>>();
  expectTypeOf(connection.simpleQueue(videos)).toEqualTypeOf<SimpleQueue<Video>>();
  expectTypeOf(connection.simpleQueue('q', { queueOptions: { schema: reading } })).toEqualTypeOf<SimpleQueue<Video>>();
  expectTypeOf(connection.simpleBuffer(videos)).toEqualTypeOf<SimpleBuffer<Video>>();
  expectTypeOf(new SimpleQueue(channel, videos)).toEqualTypeOf<SimpleQueue<Video>>();
  expectTypeOf(new SimpleBuffer<Video>(connection, 'q')).toEqualTypeOf<SimpleBuffer<Video>>();
  expectTypeOf(connection.simpleQueue(videos).get).returns.resolves.toEqualTypeOf<Message<Video>>();
  expectTypeOf(connection.simpleQueue(videos).put).parameter(0).toEqualTypeOf<Video>();

  // @ts-expect-error a Video has a size
  void connection.simpleQueue(videos).put({ name: 'lolcat.avi' });
  // @ts-expect-error milliseconds are a number
  void connection.simpleQueue(videos).get({ timeout: '1s' });
  // @ts-expect-error options, not a flag
  void connection.simpleQueue(videos).get(false);
  // @ts-expect-error an option that there is not
  connection.simpleQueue('q', { no_ack: true });
});

test('ConsumerMixin', () => {
  class Worker extends ConsumerMixin {
    override getConsumers(consumer: ConsumerFactory, own: Channel) {
      expectTypeOf(own).toEqualTypeOf<Channel>();
      expectTypeOf(consumer(videos)).toEqualTypeOf<Consumer<Video>>();
      expectTypeOf(consumer('q', { schema: reading })).toEqualTypeOf<Consumer<Video>>();
      expectTypeOf(consumer('q')).toEqualTypeOf<Consumer<unknown>>();
      expectTypeOf(consumer([videos, songs])).toEqualTypeOf<Consumer<Video | Song>>();
      const onMessage = (received: Message<Song>) => received.payload.title;
      // Of different types, with no cast.
      return [
        consumer(videos, { onMessage: (received) => expectTypeOf(received.payload).toEqualTypeOf<Video>() }),
        consumer(songs, { onMessage }),
        new Consumer(own, { queues: untyped }),
      ];
    }

    override onConsumeReady(_connection: Connection, _channel: Channel, consumers: readonly Consumer[]): void {
      expectTypeOf(consumers).toEqualTypeOf<readonly Consumer<unknown>[]>();
    }
  }
  expectTypeOf(new Worker(connection).run).returns.resolves.toBeVoid();
  expectTypeOf(new Worker(connection).shouldStop).toBeBoolean();

  class Typed extends ConsumerMixin {
    override async getConsumers(consumer: ConsumerFactory): Promise<Consumer<Video>[]> {
      return [consumer(videos)];
    }
  }
  use(new Typed(connection));

  class Wrong extends ConsumerMixin {
    // @ts-expect-error consumers, not queues
    override getConsumers() {
      return [videos];
    }
  }
  use(new Wrong(connection));
  // @ts-expect-error it needs a connection
  use(new Typed());
  // @ts-expect-error getConsumers is missing
  use(new ConsumerMixin(connection));
});

test('common', () => {
  expectTypeOf(itermessages(connection, videos)).toEqualTypeOf<AsyncGenerator<Message<Video>, void>>();
  expectTypeOf(drainConsumer(connection.consumer(videos))).toEqualTypeOf<AsyncGenerator<Message<Video>, void>>();
  expectTypeOf(collectReplies(channel, videos)).toEqualTypeOf<AsyncGenerator<Video, void>>();
  expectTypeOf(insured(connection.pool(), (own) => own.id)).resolves.toBeNumber();
  expectTypeOf(connection.autoretry((own: Channel, n: number) => `${own.id} ${n}`)).toEqualTypeOf<
    (n: number) => Promise<[result: string, channel: Channel]>
  >();
  expectTypeOf(connection.ensure(undefined, (a: string, b: number) => a.length + b)).toEqualTypeOf<
    (a: string, b: number) => Promise<number>
  >();
  expectTypeOf(nested(connection.consumer(videos), connection.consumer(songs)).consumers).toEqualTypeOf<
    readonly [Consumer<Video>, Consumer<Song>]
  >();
  void sendReply(message, 1, connection.producer());
  void sendReply(message, { title: 'Kelp' }, connection.producer<Song>());
  // @ts-expect-error the producer publishes songs
  void sendReply(message, 1, connection.producer<Song>());
  // @ts-expect-error the queue is one
  itermessages(connection, [videos]);
});

test('Message', () => {
  expectTypeOf(message.payload).toEqualTypeOf<Video>();
  expectTypeOf(message.decode()).toEqualTypeOf<Video>();
  expectTypeOf(message.body).toEqualTypeOf<Uint8Array>();
  expectTypeOf(message.deliveryTag).toBeUnknown();
  expectTypeOf(message.ack).returns.resolves.toBeBoolean();
  expectTypeOf(message).toExtend<Message>();
  // @ts-expect-error it was given
  message.payload = { name: '', size: 0 };
  // @ts-expect-error options, not a flag
  void message.reject(true);
});
