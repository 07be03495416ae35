/**
 * AMQP 0-9-1 with RabbitMQ's extensions, as one table of data. Types (types.ts), encoders and decoders (methods.ts,
 * properties.ts) follow from it.
 *
 * Sources: the AMQP 0-9-1 specification and its machine-readable grammar as RabbitMQ publishes it. Extensions:
 * confirm.select, basic.nack, exchange.bind and unbind, connection.blocked and unblocked, connection.update-secret,
 * the server's basic.cancel. The access class is a relic of 0-8 that brokers still answer.
 */

/** What stands on the wire (0-9-1 section 4.2). `bytes` is a long string whose content is binary. */
export type WireType =
  | 'bit'
  | 'octet'
  | 'short'
  | 'long'
  | 'longlong'
  | 'shortstr'
  | 'longstr'
  | 'bytes'
  | 'timestamp'
  | 'table';

/**
 * Domains and what stands on the wire for them. Fields of a `reserved-…` domain are written as zero or empty, read
 * over, and absent from the types.
 */
export const DOMAINS = {
  bit: 'bit',
  octet: 'octet',
  short: 'short',
  long: 'long',
  longlong: 'longlong',
  shortstr: 'shortstr',
  longstr: 'longstr',
  timestamp: 'timestamp',
  table: 'table',
  'class-id': 'short',
  'consumer-tag': 'shortstr',
  'delivery-tag': 'longlong',
  'exchange-name': 'shortstr',
  'message-count': 'long',
  'method-id': 'short',
  path: 'shortstr',
  'peer-properties': 'table',
  'queue-name': 'shortstr',
  'reply-code': 'short',
  'reply-text': 'shortstr',
  'security-token': 'bytes',
  'reserved-bit': 'bit',
  'reserved-short': 'short',
  'reserved-shortstr': 'shortstr',
  'reserved-longstr': 'longstr',
} as const satisfies Record<string, WireType>;

export type Domain = keyof typeof DOMAINS;

/** What the table says of one method. */
export interface MethodSpec {
  readonly classId: number;
  readonly methodId: number;
  /** Which side may send it. */
  readonly from: 'client' | 'server' | 'both';
  /** Fields in wire order. Neighbouring bits, never more than eight, share an octet, the first one lowest. */
  readonly fields: Readonly<Record<string, Domain>>;
  /** The methods that answer this one; absent when it has no answer. A set `nowait` bit cancels the answer. */
  readonly replies?: readonly string[];
  /** A content header frame and body frames follow. */
  readonly content?: true;
}

export const METHODS = {
  'connection.start': {
    classId: 10,
    methodId: 10,
    from: 'server',
    fields: {
      versionMajor: 'octet',
      versionMinor: 'octet',
      serverProperties: 'peer-properties',
      mechanisms: 'longstr',
      locales: 'longstr',
    },
    replies: ['connection.start-ok'],
  },
  'connection.start-ok': {
    classId: 10,
    methodId: 11,
    from: 'client',
    fields: {
      clientProperties: 'peer-properties',
      mechanism: 'shortstr',
      response: 'security-token',
      locale: 'shortstr',
    },
  },
  'connection.secure': {
    classId: 10,
    methodId: 20,
    from: 'server',
    fields: { challenge: 'security-token' },
    replies: ['connection.secure-ok'],
  },
  'connection.secure-ok': { classId: 10, methodId: 21, from: 'client', fields: { response: 'security-token' } },
  'connection.tune': {
    classId: 10,
    methodId: 30,
    from: 'server',
    fields: { channelMax: 'short', frameMax: 'long', heartbeat: 'short' },
    replies: ['connection.tune-ok'],
  },
  'connection.tune-ok': {
    classId: 10,
    methodId: 31,
    from: 'client',
    fields: { channelMax: 'short', frameMax: 'long', heartbeat: 'short' },
  },
  'connection.open': {
    classId: 10,
    methodId: 40,
    from: 'client',
    fields: { virtualHost: 'path', capabilities: 'reserved-shortstr', insist: 'reserved-bit' },
    replies: ['connection.open-ok'],
  },
  'connection.open-ok': { classId: 10, methodId: 41, from: 'server', fields: { knownHosts: 'reserved-shortstr' } },
  'connection.close': {
    classId: 10,
    methodId: 50,
    from: 'both',
    fields: { replyCode: 'reply-code', replyText: 'reply-text', classId: 'class-id', methodId: 'method-id' },
    replies: ['connection.close-ok'],
  },
  'connection.close-ok': { classId: 10, methodId: 51, from: 'both', fields: {} },
  'connection.blocked': { classId: 10, methodId: 60, from: 'server', fields: { reason: 'shortstr' } },
  'connection.unblocked': { classId: 10, methodId: 61, from: 'server', fields: {} },
  'connection.update-secret': {
    classId: 10,
    methodId: 70,
    from: 'client',
    fields: { newSecret: 'security-token', reason: 'shortstr' },
    replies: ['connection.update-secret-ok'],
  },
  'connection.update-secret-ok': { classId: 10, methodId: 71, from: 'server', fields: {} },

  'channel.open': {
    classId: 20,
    methodId: 10,
    from: 'client',
    fields: { outOfBand: 'reserved-shortstr' },
    replies: ['channel.open-ok'],
  },
  'channel.open-ok': { classId: 20, methodId: 11, from: 'server', fields: { channelId: 'reserved-longstr' } },
  'channel.flow': {
    classId: 20,
    methodId: 20,
    from: 'both',
    fields: { active: 'bit' },
    replies: ['channel.flow-ok'],
  },
  'channel.flow-ok': { classId: 20, methodId: 21, from: 'both', fields: { active: 'bit' } },
  'channel.close': {
    classId: 20,
    methodId: 40,
    from: 'both',
    fields: { replyCode: 'reply-code', replyText: 'reply-text', classId: 'class-id', methodId: 'method-id' },
    replies: ['channel.close-ok'],
  },
  'channel.close-ok': { classId: 20, methodId: 41, from: 'both', fields: {} },

  'access.request': {
    classId: 30,
    methodId: 10,
    from: 'client',
    fields: { realm: 'shortstr', exclusive: 'bit', passive: 'bit', active: 'bit', write: 'bit', read: 'bit' },
    replies: ['access.request-ok'],
  },
  'access.request-ok': { classId: 30, methodId: 11, from: 'server', fields: { ticket: 'short' } },

  'exchange.declare': {
    classId: 40,
    methodId: 10,
    from: 'client',
    fields: {
      ticket: 'reserved-short',
      exchange: 'exchange-name',
      type: 'shortstr',
      passive: 'bit',
      durable: 'bit',
      autoDelete: 'bit',
      internal: 'bit',
      nowait: 'bit',
      arguments: 'table',
    },
    replies: ['exchange.declare-ok'],
  },
  'exchange.declare-ok': { classId: 40, methodId: 11, from: 'server', fields: {} },
  'exchange.delete': {
    classId: 40,
    methodId: 20,
    from: 'client',
    fields: { ticket: 'reserved-short', exchange: 'exchange-name', ifUnused: 'bit', nowait: 'bit' },
    replies: ['exchange.delete-ok'],
  },
  'exchange.delete-ok': { classId: 40, methodId: 21, from: 'server', fields: {} },
  'exchange.bind': {
    classId: 40,
    methodId: 30,
    from: 'client',
    fields: {
      ticket: 'reserved-short',
      destination: 'exchange-name',
      source: 'exchange-name',
      routingKey: 'shortstr',
      nowait: 'bit',
      arguments: 'table',
    },
    replies: ['exchange.bind-ok'],
  },
  'exchange.bind-ok': { classId: 40, methodId: 31, from: 'server', fields: {} },
  'exchange.unbind': {
    classId: 40,
    methodId: 40,
    from: 'client',
    fields: {
      ticket: 'reserved-short',
      destination: 'exchange-name',
      source: 'exchange-name',
      routingKey: 'shortstr',
      nowait: 'bit',
      arguments: 'table',
    },
    replies: ['exchange.unbind-ok'],
  },
  'exchange.unbind-ok': { classId: 40, methodId: 51, from: 'server', fields: {} },

  'queue.declare': {
    classId: 50,
    methodId: 10,
    from: 'client',
    fields: {
      ticket: 'reserved-short',
      queue: 'queue-name',
      passive: 'bit',
      durable: 'bit',
      exclusive: 'bit',
      autoDelete: 'bit',
      nowait: 'bit',
      arguments: 'table',
    },
    replies: ['queue.declare-ok'],
  },
  'queue.declare-ok': {
    classId: 50,
    methodId: 11,
    from: 'server',
    fields: { queue: 'queue-name', messageCount: 'message-count', consumerCount: 'long' },
  },
  'queue.bind': {
    classId: 50,
    methodId: 20,
    from: 'client',
    fields: {
      ticket: 'reserved-short',
      queue: 'queue-name',
      exchange: 'exchange-name',
      routingKey: 'shortstr',
      nowait: 'bit',
      arguments: 'table',
    },
    replies: ['queue.bind-ok'],
  },
  'queue.bind-ok': { classId: 50, methodId: 21, from: 'server', fields: {} },
  'queue.purge': {
    classId: 50,
    methodId: 30,
    from: 'client',
    fields: { ticket: 'reserved-short', queue: 'queue-name', nowait: 'bit' },
    replies: ['queue.purge-ok'],
  },
  'queue.purge-ok': { classId: 50, methodId: 31, from: 'server', fields: { messageCount: 'message-count' } },
  'queue.delete': {
    classId: 50,
    methodId: 40,
    from: 'client',
    fields: { ticket: 'reserved-short', queue: 'queue-name', ifUnused: 'bit', ifEmpty: 'bit', nowait: 'bit' },
    replies: ['queue.delete-ok'],
  },
  'queue.delete-ok': { classId: 50, methodId: 41, from: 'server', fields: { messageCount: 'message-count' } },
  'queue.unbind': {
    classId: 50,
    methodId: 50,
    from: 'client',
    fields: {
      ticket: 'reserved-short',
      queue: 'queue-name',
      exchange: 'exchange-name',
      routingKey: 'shortstr',
      arguments: 'table',
    },
    replies: ['queue.unbind-ok'],
  },
  'queue.unbind-ok': { classId: 50, methodId: 51, from: 'server', fields: {} },

  'basic.qos': {
    classId: 60,
    methodId: 10,
    from: 'client',
    fields: { prefetchSize: 'long', prefetchCount: 'short', global: 'bit' },
    replies: ['basic.qos-ok'],
  },
  'basic.qos-ok': { classId: 60, methodId: 11, from: 'server', fields: {} },
  'basic.consume': {
    classId: 60,
    methodId: 20,
    from: 'client',
    fields: {
      ticket: 'reserved-short',
      queue: 'queue-name',
      consumerTag: 'consumer-tag',
      noLocal: 'bit',
      noAck: 'bit',
      exclusive: 'bit',
      nowait: 'bit',
      arguments: 'table',
    },
    replies: ['basic.consume-ok'],
  },
  'basic.consume-ok': { classId: 60, methodId: 21, from: 'server', fields: { consumerTag: 'consumer-tag' } },
  'basic.cancel': {
    classId: 60,
    methodId: 30,
    from: 'both',
    fields: { consumerTag: 'consumer-tag', nowait: 'bit' },
    replies: ['basic.cancel-ok'],
  },
  'basic.cancel-ok': { classId: 60, methodId: 31, from: 'both', fields: { consumerTag: 'consumer-tag' } },
  'basic.publish': {
    classId: 60,
    methodId: 40,
    from: 'client',
    fields: {
      ticket: 'reserved-short',
      exchange: 'exchange-name',
      routingKey: 'shortstr',
      mandatory: 'bit',
      immediate: 'bit',
    },
    content: true,
  },
  'basic.return': {
    classId: 60,
    methodId: 50,
    from: 'server',
    fields: {
      replyCode: 'reply-code',
      replyText: 'reply-text',
      exchange: 'exchange-name',
      routingKey: 'shortstr',
    },
    content: true,
  },
  'basic.deliver': {
    classId: 60,
    methodId: 60,
    from: 'server',
    fields: {
      consumerTag: 'consumer-tag',
      deliveryTag: 'delivery-tag',
      redelivered: 'bit',
      exchange: 'exchange-name',
      routingKey: 'shortstr',
    },
    content: true,
  },
  'basic.get': {
    classId: 60,
    methodId: 70,
    from: 'client',
    fields: { ticket: 'reserved-short', queue: 'queue-name', noAck: 'bit' },
    replies: ['basic.get-ok', 'basic.get-empty'],
  },
  'basic.get-ok': {
    classId: 60,
    methodId: 71,
    from: 'server',
    fields: {
      deliveryTag: 'delivery-tag',
      redelivered: 'bit',
      exchange: 'exchange-name',
      routingKey: 'shortstr',
      messageCount: 'message-count',
    },
    content: true,
  },
  'basic.get-empty': { classId: 60, methodId: 72, from: 'server', fields: { clusterId: 'reserved-shortstr' } },
  'basic.ack': { classId: 60, methodId: 80, from: 'both', fields: { deliveryTag: 'delivery-tag', multiple: 'bit' } },
  'basic.reject': {
    classId: 60,
    methodId: 90,
    from: 'client',
    fields: { deliveryTag: 'delivery-tag', requeue: 'bit' },
  },
  'basic.recover-async': { classId: 60, methodId: 100, from: 'client', fields: { requeue: 'bit' } },
  'basic.recover': {
    classId: 60,
    methodId: 110,
    from: 'client',
    fields: { requeue: 'bit' },
    replies: ['basic.recover-ok'],
  },
  'basic.recover-ok': { classId: 60, methodId: 111, from: 'server', fields: {} },
  'basic.nack': {
    classId: 60,
    methodId: 120,
    from: 'both',
    fields: { deliveryTag: 'delivery-tag', multiple: 'bit', requeue: 'bit' },
  },

  'confirm.select': {
    classId: 85,
    methodId: 10,
    from: 'client',
    fields: { nowait: 'bit' },
    replies: ['confirm.select-ok'],
  },
  'confirm.select-ok': { classId: 85, methodId: 11, from: 'server', fields: {} },

  'tx.select': { classId: 90, methodId: 10, from: 'client', fields: {}, replies: ['tx.select-ok'] },
  'tx.select-ok': { classId: 90, methodId: 11, from: 'server', fields: {} },
  'tx.commit': { classId: 90, methodId: 20, from: 'client', fields: {}, replies: ['tx.commit-ok'] },
  'tx.commit-ok': { classId: 90, methodId: 21, from: 'server', fields: {} },
  'tx.rollback': { classId: 90, methodId: 30, from: 'client', fields: {}, replies: ['tx.rollback-ok'] },
  'tx.rollback-ok': { classId: 90, methodId: 31, from: 'server', fields: {} },
} as const satisfies Record<string, MethodSpec>;

/** The class that content headers belong to: basic, the only one with content. */
export const BASIC_CLASS_ID = 60;

/** The properties of the basic class in wire order; the first has flag bit 15, the next bit 14 and so on. */
export const BASIC_PROPERTIES = {
  /** MIME type of the body. */
  contentType: 'shortstr',
  /** Character set or compression of the body. */
  contentEncoding: 'shortstr',
  /** The application's own fields, and those that a headers exchange routes by. */
  headers: 'table',
  /** 1: lost when the broker restarts. 2: kept by durable queues. */
  deliveryMode: 'octet',
  /** 0 to 255, the higher the earlier, in queues declared with priorities. */
  priority: 'octet',
  /** Which request a reply belongs to. */
  correlationId: 'shortstr',
  /** The queue that a reply is wanted in. */
  replyTo: 'shortstr',
  /** Time to live in milliseconds, as a decimal string. */
  expiration: 'shortstr',
  messageId: 'shortstr',
  /** Seconds since 1970. A `Date` loses its milliseconds. */
  timestamp: 'timestamp',
  /** The application's name for this kind of message. */
  type: 'shortstr',
  /** The publishing user; RabbitMQ closes the channel when it is another than the connection's. */
  userId: 'shortstr',
  appId: 'shortstr',
  /** A relic of 0-8. */
  clusterId: 'shortstr',
} as const satisfies Record<string, WireType>;

/** Frame types (0-9-1 section 4.2.3). */
export const FRAME_METHOD = 1;
export const FRAME_HEADER = 2;
export const FRAME_BODY = 3;
export const FRAME_HEARTBEAT = 8;
/** The octet that ends every frame. */
export const FRAME_END = 0xce;
/** No peer may be asked for less than this `frame_max`. */
export const FRAME_MIN_SIZE = 4096;
/** Octets before a frame's payload: type, channel, size. */
export const FRAME_HEADER_SIZE = 7;
/** What a frame adds to its payload: the header and the end octet. `frame_max` counts these too. */
export const FRAME_OVERHEAD = 8;
/** The `frame_max` used where nothing else was agreed: 128 KiB. */
export const DEFAULT_FRAME_MAX = 131_072;
/** The longest frame taken or written where the peers agreed on no limit (`frame_max` 0): 128 MiB. */
export const UNLIMITED_FRAME_MAX = 134_217_728;

/** What a client says first: `AMQP`, 0, and the version 0-9-1. */
export const PROTOCOL_HEADER: Uint8Array = Uint8Array.of(0x41, 0x4d, 0x51, 0x50, 0, 0, 9, 1);

/** Reply codes (0-9-1 section 1.2). Those marked hard close the connection, soft ones the channel. */
export const REPLY_CODES = {
  success: { code: 200, kind: 'none' },
  'content-too-large': { code: 311, kind: 'soft' },
  'no-route': { code: 312, kind: 'soft' },
  'no-consumers': { code: 313, kind: 'soft' },
  'connection-forced': { code: 320, kind: 'hard' },
  'invalid-path': { code: 402, kind: 'hard' },
  'access-refused': { code: 403, kind: 'soft' },
  'not-found': { code: 404, kind: 'soft' },
  'resource-locked': { code: 405, kind: 'soft' },
  'precondition-failed': { code: 406, kind: 'soft' },
  'frame-error': { code: 501, kind: 'hard' },
  'syntax-error': { code: 502, kind: 'hard' },
  'command-invalid': { code: 503, kind: 'hard' },
  'channel-error': { code: 504, kind: 'hard' },
  'unexpected-frame': { code: 505, kind: 'hard' },
  'resource-error': { code: 506, kind: 'hard' },
  'not-allowed': { code: 530, kind: 'hard' },
  'not-implemented': { code: 540, kind: 'hard' },
  'internal-error': { code: 541, kind: 'hard' },
} as const;
