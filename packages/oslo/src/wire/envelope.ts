/**
 * The envelope of oslo.messaging, version 2.0, and what is in it:
 *
 * ```
 *   {"oslo.version": "2.0", "oslo.message": "<JSON as a string>"}        a body without both keys is the message itself (1.0)
 *
 *   request  {"method", "args": {…}, "namespace"?, "version"?, "_context_<key>"…, "_unique_id",
 *             "_msg_id", "_reply_q", "_timeout": seconds | null}         the last three when an answer is wanted
 *   reply    {"result", "failure": null | "<JSON>", "ending": true, "_msg_id", "_unique_id"}
 *   heartbeat  the same with result and failure null, and ending false
 * ```
 */
import { randomBytes } from 'node:crypto';
import { DecodeError } from 'wakame';
import { show } from 'wakame/util';
import { parseJson, writeJson } from 'wakame/wire';

/** Entries that go with a request from service to service: who asks, on whose behalf. JSON can hold it. */
export type Context = Readonly<Record<string, unknown>>;

/** Arguments of a method, by name. */
export type Args = Readonly<Record<string, unknown>>;

/** Where and how an answer is wanted. */
export interface ReplyPath {
  /** Tells the caller which of its calls is answered. */
  readonly msgId: string;
  /** The queue that the answer goes to. */
  readonly replyQueue: string;
  /** Seconds of silence after which the caller gives up; heartbeats break it. */
  readonly monitorTimeout: number | undefined;
}

/** A call or a cast, as it came. */
export interface Request {
  readonly method: string;
  readonly args: Args;
  readonly namespace: string | undefined;
  /** Default 1.0. */
  readonly version: string | undefined;
  readonly context: Context;
  readonly uniqueId: string | undefined;
  /** Absent: a cast. */
  readonly reply: ReplyPath | undefined;
}

export interface ReplyBody {
  readonly msgId: string;
  readonly uniqueId: string | undefined;
  readonly result: unknown;
  /** JSON; see failure.ts. */
  readonly failure: string | undefined;
  /** Nothing more follows. */
  readonly ending: boolean;
}

const VERSION_KEY = 'oslo.version';
const MESSAGE_KEY = 'oslo.message';
const CONTEXT_PREFIX = '_context_';

/** Random ids are drawn from the system for many at once: one costs more than all the rest of a small message. */
const POOL = 256;
let pool = Buffer.alloc(0);
let used = 0;

/** An id as Python's `uuid4().hex`. */
export function hexId(): string {
  if (used === pool.length) {
    pool = randomBytes(16 * POOL);
    used = 0;
  }
  const at = used;
  used += 16;
  pool[at + 6] = (pool[at + 6]! & 0x0f) | 0x40;
  pool[at + 8] = (pool[at + 8]! & 0x3f) | 0x80;
  return pool.toString('hex', at, used);
}

/** The body of a message in its envelope. Throws ENCODE_FAILED for what JSON cannot hold. */
export function seal(message: object): string {
  return `{"${VERSION_KEY}":"2.0","${MESSAGE_KEY}":${JSON.stringify(writeJson(message))}}`;
}

/** The message in an envelope, or the body itself when it has none. Throws DECODE_FAILED. */
export function unseal(body: unknown): Record<string, unknown> {
  if (!isObject(body)) throw malformed('a message must be an object', body);
  if (!(VERSION_KEY in body && MESSAGE_KEY in body)) return body;
  checkVersion(body[VERSION_KEY]);
  const inner = body[MESSAGE_KEY];
  if (typeof inner !== 'string') throw malformed(`${MESSAGE_KEY} must be a string`, inner);
  const message = parseJson(inner);
  if (!isObject(message)) throw malformed(`${MESSAGE_KEY} must hold an object`, message);
  return message;
}

/** The same major version, and no newer a minor one. */
function checkVersion(version: unknown): void {
  const [, major, minor] = typeof version === 'string' ? (/^(\d+)(?:\.(\d+))?/.exec(version) ?? []) : [];
  if (major === '2' && Number(minor ?? 0) === 0) return;
  throw malformed('the envelope must be of version 2.0', version);
}

export function writeRequest(request: Request): object {
  const { method, args, namespace, version, context, uniqueId, reply } = request;
  const message: Record<string, unknown> = { method, args, namespace, version, _unique_id: uniqueId };
  if (reply !== undefined) {
    message['_msg_id'] = reply.msgId;
    message['_reply_q'] = reply.replyQueue;
    message['_timeout'] = reply.monitorTimeout ?? null;
  }
  return Object.assign(message, packContext(context));
}

/** Throws DECODE_FAILED for what is no request. */
export function readRequest(message: Record<string, unknown>): Request {
  const { method, args } = message;
  if (typeof method !== 'string') throw malformed("a request's method must be a string", method);
  if (args !== undefined && args !== null && !isObject(args)) {
    throw malformed("a request's args must be an object", args);
  }
  const msgId = optional(message, '_msg_id');
  const replyQueue = optional(message, '_reply_q');
  const monitorTimeout = seconds(message['_timeout']);
  return {
    method,
    args: args ?? {},
    context: unpackContext(message),
    uniqueId: optional(message, '_unique_id'),
    namespace: optional(message, 'namespace'),
    version: optional(message, 'version'),
    reply: msgId !== undefined && isQueueName(replyQueue) ? { msgId, replyQueue, monitorTimeout } : undefined,
  };
}

export function writeReply({ msgId, uniqueId, result, failure, ending }: ReplyBody): object {
  // JSON has no `undefined`: a method that returns nothing answers `null`, as Python's `None`.
  return { result: result ?? null, failure: failure ?? null, ending, _msg_id: msgId, _unique_id: uniqueId };
}

/** Throws DECODE_FAILED for what is no reply. */
export function readReply(message: Record<string, unknown>): ReplyBody {
  const { result, failure, ending } = message;
  const msgId = optional(message, '_msg_id');
  if (msgId === undefined) throw malformed("a reply's _msg_id must be a string", message['_msg_id']);
  const failed = failure !== undefined && failure !== null && failure !== '' && failure !== false;
  return {
    msgId,
    result: result ?? null,
    uniqueId: optional(message, '_unique_id'),
    ending: ending === true,
    failure: failed ? (typeof failure === 'string' ? failure : writeJson(failure)) : undefined,
  };
}

/** A context as members of a message. */
export function packContext(context: Context): Record<string, unknown> {
  const packed: Record<string, unknown> = {};
  for (const key of Object.keys(context)) packed[CONTEXT_PREFIX + key] = context[key];
  return packed;
}

/** The context among the members of a message. It has no prototype: its keys are the sender's. */
export function unpackContext(message: Record<string, unknown>): Context {
  const context: Record<string, unknown> = Object.create(null);
  for (const key of Object.keys(message)) {
    if (key.startsWith(CONTEXT_PREFIX)) context[key.slice(CONTEXT_PREFIX.length)] = message[key];
  }
  return context;
}

/** Sets a member; `__proto__` is a name like any other, and may be a peer's. */
export function setMember(object: Record<string, unknown>, name: string, value: unknown): void {
  if (name !== '__proto__') object[name] = value;
  else Object.defineProperty(object, name, { value, enumerable: true, writable: true, configurable: true });
}

/** A string; `null` and nothing at all are the same. */
export function optional(message: Record<string, unknown>, key: string): string | undefined {
  const value = message[key];
  if (value === undefined || value === null || typeof value === 'string') return value ?? undefined;
  throw malformed(`${key} must be a string`, value);
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
}

export function malformed(what: string, value: unknown): DecodeError {
  return new DecodeError(`${what}, not ${show(value)}`);
}

/** A positive number of seconds, as a number or as text; anything else is none. */
function seconds(value: unknown): number | undefined {
  const number = typeof value === 'string' || typeof value === 'number' ? Number(value) : Number.NaN;
  return number > 0 && Number.isFinite(number) ? number : undefined;
}

/** AMQP's short string. */
function isQueueName(name: string | undefined): name is string {
  return name !== undefined && name !== '' && Buffer.byteLength(name) <= 255;
}
