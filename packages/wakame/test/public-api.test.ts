/**
 * What the packages export, name by name: an export is a promise, and none is made by accident. (Types are not in this list: they are
 * not there at run time.)
 */
import { expect, test } from 'vitest';

/** Of py-amqp, with what this library has beside them. */
const amqpErrors = `
  AMQPNotImplementedError AccessRefused AuthenticationError BufferFullError ChannelError ChannelNotOpen
  ConnectionClosedError ConnectionError ConnectionForced ConsumerCancelled ContentTooLarge FrameError
  FrameSyntaxError InternalError InvalidArgumentError InvalidCommand InvalidPath IrrecoverableChannelError
  IrrecoverableConnectionError MessageNacked MessagingError NoConsumers NotAllowed NotFound
  NotSupportedError PreconditionFailed PublishError RecoverableChannelError RecoverableConnectionError
  ResourceError ResourceLocked TimeoutError TlsError UnexpectedFrame UnroutableError VhostNotFoundError
  errorForReply
`;

/** Of Kombu, with what this library has beside them. */
const errors = `
  ChannelLimitExceeded ConnectionLimitExceeded ConsumerBusyError ContentDisallowed DecodeError Empty
  EncodeError HttpError InconsistencyError InvalidUrlError KombuError LeaseLostError LimitExceeded
  MessageStateError MissingDependencyError NotBoundError OperationalError SerializationError
  SerializerNotInstalled StoreError UnknownTransportError isRecoverable
`;

const wakame = `
  Connection Channel DEFAULTS
  Exchange Queue Binding binding
  Producer Consumer Message nested
  SimpleQueue SimpleBuffer
  Mailbox Node
  ConsumerMixin ConsumerProducerMixin
  ChannelPool ConnectionPool ProducerPool connections producers pools
  Broadcast QoS collectReplies drainConsumer eventLoop ignoreErrors insured itermessages maybeDeclare sendReply
  serialization jsonSerializer MsgpackExt compression matcher
  Decimal PyDate PyDateTime PyTime Uuid
  registerTransport transportNames
  asUrl maybeSanitizeUrl parseUrl sanitizeUrl
  LamportClock TokenBucket tracing uuid
`;

const exported = {
  wakame: [wakame, errors, amqpErrors],
  'wakame/filesystem': ['FilesystemDriver transportModule'],
  'wakame/memory': ['MemoryDriver memoryBroker resetMemory transportModule'],
  'wakame/otel': ['instrument processMessage'],
  'wakame/redis': ['RedisDriver transportModule'],
  'wakame/sql': ['SqlDriver mysqlModule postgresqlModule sqlalchemyModule sqliteModule'],
  'wakame/virtual': ['defineVirtualTransport'],
  'wakame/wire': [
    'bindingPattern clampPriority copyMessage copyTable decodeEnvelope encodeEnvelope hasWildcard knownBindingPatterns',
    'matchTopic TopicIndex parseJson registerJsonType writeJson Decimal PyDate PyDateTime PyTime Uuid',
  ],
  'wakame/util': [
    'Deadline TypedEmitter after checkBoolean checkDuration checkFunction checkInteger checkKeys checkOneOf checkString deferred',
    'Alarm didYouMean doneBefore noop onAbort raceSignal secondsToMs show sleep warnOnce withDeadline',
  ],
  '@wakame/oslo': [
    'InvalidTarget InvalidTransportUrl MessageDeliveryFailure MessageUndeliverable MessagingTimeout NoSuchMethod PythonError',
    'RemoteError RpcVersionCapError UnsupportedVersion remoteFailureOf',
    'BatchNotificationListener DriverConnection NotificationFilter NotificationListener Notifier',
    'JsonPayloadSerializer NoOpSerializer RpcClient RpcServer Target Transport expectedExceptions expose osloTracing parseTransportUrl',
  ],
  'wakame/testing': ['openSuite transportConformance'],
  '@wakame/amqp': ['Channel Connection TypedValue connect parseUrl typed', amqpErrors],
  '@wakame/amqp/errors': [amqpErrors],
};

const modules: Readonly<Record<keyof typeof exported, () => Promise<object>>> = {
  wakame: () => import('wakame'),
  'wakame/filesystem': () => import('wakame/filesystem'),
  'wakame/memory': () => import('wakame/memory'),
  'wakame/otel': () => import('wakame/otel'),
  'wakame/redis': () => import('wakame/redis'),
  'wakame/sql': () => import('wakame/sql'),
  'wakame/virtual': () => import('wakame/virtual'),
  'wakame/wire': () => import('wakame/wire'),
  'wakame/util': () => import('wakame/util'),
  '@wakame/oslo': () => import('@wakame/oslo'),
  'wakame/testing': () => import('wakame/testing'),
  '@wakame/amqp': () => import('@wakame/amqp'),
  '@wakame/amqp/errors': () => import('@wakame/amqp/errors'),
};

test.each(Object.entries(exported))('%s', async (name, lists) => {
  const module = await modules[name as keyof typeof exported]();
  const names = lists.flatMap((list) => list.trim().split(/\s+/));
  expect(Object.keys(module).sort()).toEqual(names.sort());
  for (const [key, value] of Object.entries(module)) expect(value, key).toBeDefined();
});

test('a class is the same from wherever it is imported', async () => {
  const [all, client, errorsOnly, wire] = await Promise.all([
    import('wakame'),
    import('@wakame/amqp'),
    import('@wakame/amqp/errors'),
    import('wakame/wire'),
  ]);
  expect([all.NotFound, client.NotFound]).toEqual([errorsOnly.NotFound, errorsOnly.NotFound]);
  expect(all.KombuError).toBe(all.MessagingError);
  expect(all.Decimal).toBe(wire.Decimal);
});

test('package.json names the same modules', async () => {
  const { default: manifest } = await import('../package.json', { with: { type: 'json' } });
  const paths = Object.keys(manifest.exports).filter((path) => path !== './package.json');
  const named = Object.keys(exported).filter((name) => name.startsWith('wakame'));
  expect(paths.map((path) => path.replace('.', 'wakame')).sort()).toEqual(named.sort());
});
