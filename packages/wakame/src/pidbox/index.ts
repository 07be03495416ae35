export type { CommandHandler, CommandHandlers, HandlerContext, HandlerOptions } from './handlers.js';
export { Mailbox, type MailboxEvents } from './mailbox.js';
export { type ListenOptions, Node, type NodeEvents, type NodeOptions, type ReplyTo } from './node.js';
export type {
  AbcastOptions,
  BroadcastCommandOptions,
  CallOptions,
  CastOptions,
  MailboxOptions,
  MailboxType,
  MultiCallOptions,
  PatternOptions,
  ReplyOptions,
  SendOptions,
} from './options.js';
export type { ProducerSource } from './publishing.js';
export type { UnclaimedReplies } from './unclaimed.js';
export type { CommandArguments, MailboxRequest, Reply, ReplyAddress } from './wire.js';
