/**
 * Every default of the package, in one place. Durations are milliseconds, sizes bytes.
 */
export const DEFAULTS = {
  /** One try to connect to one host. Option `connectTimeout`. */
  connectTimeout: 5_000,
  /** The first connect in all, over every host and pause. Option `connectDeadline`. */
  connectDeadline: 30_000,
  /** An answer of the broker to a single request, counted while the connection is open. */
  rpcTimeout: 10_000,
  /** An operation in all, the wait for a connection included. Its `timeout`. */
  operationTimeout: 30_000,
  /** A publish in all, the wait for a connection and for the confirm included. Its `timeout`. */
  publishTimeout: 30_000,
  /** An orderly close. `close({ timeout })`. */
  closeTimeout: 10_000,
  /** Option `heartbeat`; 0 is off. The broker may shorten it. */
  heartbeat: 60_000,

  /** Largest body accepted from a peer, and sent. */
  maxBodyBytes: 128 * 1024 * 1024,
  /** `ready()` resolves while fewer bytes than this wait to be settled. */
  publishWindowBytes: 16 * 1024 * 1024,
  /** Past this, publish rejects BUFFER_FULL. Producer's `maxBufferedBytes`. */
  maxBufferedBytes: 128 * 1024 * 1024,

  /** Unsettled messages of a consumer. Consumer's `prefetch`. */
  prefetch: 100,
  /** Handlers of a consumer at work at one time. Consumer's `concurrency`. */
  concurrency: 1,
  /** A message whose handler failed this often is rejected without requeue. Consumer's `maxAttempts`. */
  maxAttempts: 10,

  /** Silence after which a mailbox's `call` waits for no more replies. */
  mailboxCall: 10_000,
  /** The same of `multiCall` and `broadcast`. */
  mailboxMultiCall: 1_000,
  /** A reply queue that nobody uses is deleted. Mailbox's `replyQueueExpires`. */
  replyQueueExpires: 10_000,

  /** How long a store's message is held without being renewed. It is renewed every third of it. */
  lease: 30_000,

  /** Pause between cycles of failed tries to connect, grown and jittered (`jitteredBackoff`). */
  reconnect: { start: 100, max: 2_000, factor: 2 },
  /** The same where people must act first: credentials, virtual host, certificate. */
  reconnectRefused: { start: 1_000, max: 30_000, factor: 2 },
  /** A connection or channel lost sooner than this after it opened counts as a failed try. */
  stableAfter: 5_000,
  /** Pause before a channel or a consumer that failed again is opened again. */
  reopen: { start: 100, max: 10_000, factor: 2 },
  /** How long a consumer whose queue is gone, and was not declared here, waits for the queue to come back. */
  cancelledGrace: 5_000,

  /** Kombu's pauses of `ensureConnection` (2 s, 2 s, 30 s). */
  ensureConnection: { start: 2_000, step: 2_000, max: 30_000 },
  /** Kombu's pauses of `ensure` and `autoretry` (1 s, 1 s, 1 s). */
  ensure: { start: 1_000, step: 1_000, max: 1_000 },

  /** Resources of a pool. */
  poolLimit: 10,
} as const;
