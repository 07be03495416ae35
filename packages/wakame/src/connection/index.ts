/** The public face of connections. */
export { Channel, type ChannelConsumeOptions, type ChannelEventMap } from './channel.js';
export type { CloseOptions } from './close-options.js';
export { Connection } from './connection.js';
export type { BeforeClose } from './core.js';
export type { Credentials, CredentialsProvider } from './credentials.js';
export { DEFAULTS } from './defaults.js';
export type { DrainEventsOptions } from './drain.js';
export type { ConnectedInfo, ConnectionEventMap, FailoverInfo, RecoveredInfo } from './events.js';
export type { FailoverFunction, FailoverStrategy } from './hosts.js';
export type { ConnectionInfo } from './identity.js';
export type { ConnectionState } from './machine.js';
export type { ManagedChannelState } from './managed-channel.js';
export type { ConnectionOptions } from './options.js';
export type { EnsureOptions, ErrorClass, Revivable } from './retry.js';
export type { RetryOptions, RetryPolicy } from './retry-options.js';
export type { DeclareExchange, DeclareQueue, QueueDeclared, Topology } from './topology.js';
export type { TransportOptions } from './transport-options.js';
export type { WaitOptions } from './waiters.js';
