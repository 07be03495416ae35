/**
 * RPC and notifications that oslo.messaging understands, over any broker of Wakame's.
 *
 * @packageDocumentation
 */
export {
  type DriverCallback,
  DriverConnection,
  type DriverEvents,
  type DriverMessage,
  type DriverSendOptions,
  type Purpose,
} from './driver.js';
export * from './errors.js';
export type { BatchEndpoint, NotificationEndpoint, NotificationResult } from './notify/endpoints.js';
export { NotificationFilter, type NotificationFilterRules, type Pattern } from './notify/filter.js';
export {
  type BatchListenerOptions,
  BatchNotificationListener,
  type ListenerEvents,
  type ListenerOptions,
  NotificationListener,
} from './notify/listener.js';
export type { Notification, NotificationMetadata, Priority } from './notify/message.js';
export {
  type NotificationDriver,
  type NotificationSink,
  Notifier,
  type NotifierOptions,
  type NotifyOptions,
} from './notify/notifier.js';
export type { RoutingConfig, RoutingRule } from './notify/routing.js';
export type { OsloOptions, OsloSettings } from './options.js';
export { type AccessPolicy, expose } from './rpc/access.js';
export {
  type CallOptions,
  type CastOptions,
  type PrepareOptions,
  RpcClient,
  type RpcClientOptions,
} from './rpc/client.js';
export type { Endpoint, RpcCall } from './rpc/dispatcher.js';
export { expectedExceptions } from './rpc/expected.js';
export type { Remote, RemoteMethod } from './rpc/proxy.js';
export { RpcServer, type RpcServerEvents, type RpcServerOptions } from './rpc/server.js';
export { JsonPayloadSerializer, NoOpSerializer, type Serializer } from './serializer.js';
export { Target, type TargetOptions } from './target.js';
export { type DispatchContext, osloTracing, type RequestContext } from './tracing.js';
export { Transport, type TransportEvents, type TransportOptions } from './transport.js';
export { parseTransportUrl, type TransportHost, type TransportUrl } from './transport-url.js';
export type { Args, Context, ReplyPath, Request } from './wire/envelope.js';
export { type ErrorClasses, remoteFailureOf } from './wire/failure.js';
