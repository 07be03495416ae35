/**
 * The bodies of mailbox messages, as Kombu writes them (`kombu.pidbox`):
 *
 * ```
 *   request  {"method": "ping", "arguments": {…}, "destination": null | ["host", …], "pattern": null, "matcher": null,
 *             "ticket": "…", "reply_to": {"exchange": "reply.<namespace>.pidbox", "routing_key": "<oid>"}}
 *            the last two when a reply is wanted; headers clock (Lamport's), expires (seconds since the epoch, 0: never)
 *   reply    {"<hostname>": result}, or {"<hostname>": {"error": "KeyError('nope')"}}
 *            headers ticket, clock
 * ```
 */
import { DecodeError } from '../errors.js';
import { show } from '../util/check.js';

/** Arguments of a command, by name. */
export type CommandArguments = Readonly<Record<string, unknown>>;

/** Where a reply goes. */
export interface ReplyAddress {
  readonly exchange: string;
  readonly routingKey: string;
}

/** A command, as it arrives at a node. */
export interface MailboxRequest {
  /** The name of the handler. */
  readonly method: string;
  readonly arguments: CommandArguments;
  /** The nodes it is for. Empty, as when it is absent: all of them. */
  readonly destination: readonly string[] | undefined;
  /** Without `destination`: the nodes whose hostnames match. */
  readonly pattern: string | undefined;
  /** How `pattern` is read. Default `glob`. */
  readonly matcher: string | undefined;
  /** Where the reply goes, when one is wanted. */
  readonly replyTo: ReplyAddress | undefined;
  /** What tells the caller which of its calls the reply belongs to. */
  readonly ticket: string | undefined;
}

/** What a node answered. */
export type Reply<T = unknown> =
  | { readonly hostname: string; readonly value: T; readonly error?: undefined }
  /**
   * The node could not do it. `error` is the exception as Python prints it (its `repr`): `KeyError('nope')`; or says why the value is not what the
   * call's `schema` wants.
   */
  | { readonly hostname: string; readonly value?: undefined; readonly error: string };

/** The body of a request. */
export function writeRequest(request: MailboxRequest): object {
  const { method, destination, pattern, matcher, ticket, replyTo } = request;
  const body = {
    method,
    arguments: request.arguments,
    destination: destination ?? null,
    pattern: pattern ?? null,
    matcher: matcher ?? null,
  };
  if (replyTo === undefined) return body;
  return { ...body, ticket, reply_to: { exchange: replyTo.exchange, routing_key: replyTo.routingKey } };
}

/** Throws DECODE_FAILED for what is no request. */
export function readRequest(body: unknown): MailboxRequest {
  if (!isObject(body)) throw malformed('a request must be an object', body);
  const { method, destination, reply_to: replyTo } = body;
  if (typeof method !== 'string') throw malformed("a request's method must be a string", method);
  const args = body['arguments'] ?? {};
  if (!isObject(args)) throw malformed("a request's arguments must be an object", args);
  return {
    method,
    arguments: args,
    destination: destination === undefined || destination === null ? undefined : readDestination(destination),
    pattern: readText('pattern', body['pattern']),
    matcher: readText('matcher', body['matcher']),
    replyTo: replyTo === undefined || replyTo === null ? undefined : readAddress(replyTo),
    ticket: readText('ticket', body['ticket']),
  };
}

/** The body of a reply. JSON has no `undefined`: a handler that returns nothing answers `null`, as Python's `None`. */
export function writeReply(hostname: string, result: unknown): object {
  return { [hostname]: result === undefined ? null : result };
}

/** Throws DECODE_FAILED for what is no reply. */
export function readReply(body: unknown): Reply {
  const [only, ...others] = isObject(body) ? Object.entries(body) : [];
  if (only === undefined || others.length > 0) throw malformed('a reply must be an object with one hostname', body);
  const [hostname, value] = only;
  const error = errorOf(value);
  return error === undefined ? { hostname, value } : { hostname, error };
}

/** The header `expires` of a request that nobody waits for any more after so many milliseconds. */
export function expiresIn(ms: number | undefined): number {
  return ms === undefined || ms === Number.POSITIVE_INFINITY ? 0 : (Date.now() + ms) / 1000;
}

/** Milliseconds since the time that a header `expires` names; negative before it, and when it names none. */
export function lateness(expires: unknown): number {
  const seconds = typeof expires === 'bigint' ? Number(expires) : expires;
  return typeof seconds === 'number' && seconds > 0 ? Date.now() - seconds * 1000 : Number.NEGATIVE_INFINITY;
}

/** What a failed handler's caller gets in the place of a result. */
export function errorResult(error: unknown): { readonly error: string } {
  return { error: repr(error) };
}

/** An exception in the manner of Python's `repr`: `TypeError('x is not a number')`. */
function repr(error: unknown): string {
  if (!(error instanceof Error)) return show(error);
  const message =
    error.message.length > LONGEST_MESSAGE ? `${error.message.slice(0, LONGEST_MESSAGE)}…` : error.message;
  return `${error.name}(${message === '' ? '' : quoted(message)})`;
}

const LONGEST_MESSAGE = 1_000;

/** As Python quotes: by `'`, unless that alone is in the text. */
function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text
    .replaceAll('\\', '\\\\')
    .replaceAll(quote, `\\${quote}`)
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r')
    .replaceAll('\t', '\\t');
  return quote + escaped + quote;
}

/** `{"error": "…"}` and nothing beside it: what Kombu answers for an exception, and Celery for a command it refuses. */
function errorOf(value: unknown): string | undefined {
  if (!isObject(value)) return undefined;
  const { error } = value;
  return typeof error === 'string' && Object.keys(value).length === 1 ? error : undefined;
}

function readDestination(value: unknown): readonly string[] {
  if (Array.isArray(value) && value.every((name) => typeof name === 'string')) return value;
  throw malformed("a request's destination must be a list of hostnames", value);
}

function readText(name: string, value: unknown): string | undefined {
  if (value === undefined || value === null || typeof value === 'string') return value ?? undefined;
  throw malformed(`a request's ${name} must be a string`, value);
}

function readAddress(value: unknown): ReplyAddress {
  const { exchange, routing_key: routingKey } = isObject(value) ? value : {};
  if (isName(exchange) && isName(routingKey)) return { exchange, routingKey };
  throw malformed("a request's reply_to must name an exchange and a routing_key", value);
}

/** AMQP's short string. */
function isName(value: unknown): value is string {
  return typeof value === 'string' && Buffer.byteLength(value) <= 255;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
}

function malformed(what: string, value: unknown): DecodeError {
  return new DecodeError(`${what}, not ${show(value)}`);
}
