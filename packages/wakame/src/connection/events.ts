import type { MessagingError } from '../errors.js';
import type { Returned } from '../transport/contract.js';

/** Events of a Connection. None is named `error`. Hosts are `host:port`, without credentials. */
export interface ConnectionEventMap {
  /** An incarnation is open: the first one, and each after a loss. */
  connected: [info: ConnectedInfo];
  /** The connection was lost; recovery has begun. */
  disconnected: [error: MessagingError];
  /** After a loss: connection, topology, channels and consumers are back. */
  recovered: [info: RecoveredInfo];
  /** The new incarnation is on another host. */
  failover: [info: FailoverInfo];
  /** The broker stopped taking publishes, and says why. */
  blocked: [reason: string];
  unblocked: [];
  /** A message reached no queue, and its publisher did not ask to be told. */
  unroutable: [returned: Returned];
  /** Something failed that no operation waits for. Unheard, it becomes a process warning. */
  problem: [error: MessagingError];
  /** `close()` is done. */
  closed: [];
}

/** Told with `connected`. */
export interface ConnectedInfo {
  readonly host: string;
}

/** Told with `recovered`: everything is back. */
export interface RecoveredInfo {
  readonly host: string;
  /** Milliseconds from the loss until all was back. */
  readonly duration: number;
  /** The loss. */
  readonly cause: MessagingError;
}

/** Told with `failover`: another host took over. */
export interface FailoverInfo {
  readonly from: string;
  readonly to: string;
  /** The loss. */
  readonly cause: MessagingError;
}
