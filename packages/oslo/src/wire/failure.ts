/**
 * Exceptions on the wire: `{class, module, message, tb: [line…], args: […], kwargs: {…}}` as JSON. A receiver makes the exception
 * again when it knows, and trusts, the module; its name then ends in `_Remote`, which is taken off when it travels on.
 */
import { MessagingError } from 'wakame';
import { parseJson, writeJson } from 'wakame/wire';
import { NoSuchMethod, PythonError, RemoteError, type RemoteFailure, UnsupportedVersion } from '../errors.js';
import { isObject } from './envelope.js';

/** Classes of errors of a module, by name. */
export type ErrorClasses = Readonly<Record<string, unknown>>;

/** The module of errors of JavaScript. */
export const NODE_MODULE = 'node';
const DISPATCHER_MODULE = 'oslo_messaging.rpc.dispatcher';
const REMOTE = '_Remote';

const LONGEST_MESSAGE = 64 * 1024;
const MOST_LINES = 1000;

/** What is made again of any peer's failures. */
const ALWAYS: ReadonlyMap<string, ErrorClasses> = new Map<string, ErrorClasses>([
  [NODE_MODULE, { Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError }],
  [DISPATCHER_MODULE, { NoSuchMethod, UnsupportedVersion }],
]);

/** The failure that a thrown value is. */
export function failureOf(thrown: unknown): RemoteFailure {
  if (thrown instanceof RemoteError) return stripped(thrown.failure);
  const received = thrown instanceof Error ? receivedFailures.get(thrown) : undefined;
  if (received !== undefined) return stripped(received);
  if (!(thrown instanceof Error)) {
    const message = bounded(String(thrown));
    return { className: 'Error', module: NODE_MODULE, message, traceback: [], args: [message], kwargs: {} };
  }
  const message = bounded(thrown.message);
  const traceback = (thrown.stack ?? `${thrown.name}: ${message}`).split('\n').map((line) => `${line}\n`);
  const shared = { message, traceback: traceback.slice(0, MOST_LINES) };
  if (thrown instanceof PythonError) {
    const { className, module, args, kwargs } = thrown;
    return { ...shared, className, module, args, kwargs };
  }
  const isDispatch = thrown instanceof NoSuchMethod || thrown instanceof UnsupportedVersion;
  const module = isDispatch ? DISPATCHER_MODULE : NODE_MODULE;
  return { ...shared, className: classNameOf(thrown), module, args: [message], kwargs: {} };
}

/** A class that extends Error and says no more inherits its name. */
function classNameOf(error: Error): string {
  return error.name === 'Error' ? error.constructor.name : error.name;
}

/** Throws ENCODE_FAILED when its args cannot be written. */
export function writeFailure({ className, module, message, traceback, args, kwargs }: RemoteFailure): string {
  return writeJson({ class: className, module, message, tb: traceback, args, kwargs });
}

/**
 * The error that a failure is here: an instance of its class when `known` has its module and class, else a {@link RemoteError}. Never throws.
 *
 * @param known Classes by module.
 */
export function readFailure(text: string, known: ReadonlyMap<string, ErrorClasses>): Error {
  const failure = parseFailure(text);
  const { className, module, message } = stripped(failure);
  const classes = known.get(module) ?? ALWAYS.get(module);
  const found = classes !== undefined && Object.hasOwn(classes, className) ? classes[className] : undefined;
  if (!isErrorClass(found)) return new RemoteError(failure);
  let error: unknown;
  try {
    error = new found(message);
  } catch {
    // A class that wants other arguments.
  }
  if (!(error instanceof Error)) return new RemoteError(failure);
  error.name = `${className}${REMOTE}`;
  // What happened there is what matters; where it was received says nothing.
  error.stack = [`${error.name}: ${message}`, ...failure.traceback.map((line) => line.trimEnd())].join('\n');
  receivedFailures.set(error, failure);
  return error;
}

/** Of errors that were made again from failures. */
const receivedFailures = new WeakMap<Error, RemoteFailure>();

/** What an error was on the other side, when it came from there. */
export function remoteFailureOf(error: unknown): RemoteFailure | undefined {
  if (error instanceof RemoteError) return error.failure;
  return error instanceof Error ? receivedFailures.get(error) : undefined;
}

function parseFailure(text: string): RemoteFailure {
  let value: unknown;
  try {
    value = parseJson(text);
  } catch (error) {
    if (!(error instanceof MessagingError)) throw error;
  }
  // What is no failure as we know it is still one.
  const object = isObject(value) ? value : { message: text };
  const { tb, args, kwargs } = object;
  const trace = Array.isArray(tb) ? tb.slice(0, MOST_LINES).map(String) : [];
  return {
    className: textOf(object['class'], 'Exception'),
    module: textOf(object['module'], ''),
    message: bounded(textOf(object['message'], '')),
    traceback: trace,
    args: Array.isArray(args) ? args : [],
    kwargs: isObject(kwargs) ? kwargs : {},
  };
}

/** Python appends the suffix each time it makes an exception again. */
function stripped(failure: RemoteFailure): RemoteFailure {
  const strip = (name: string) => (name.endsWith(REMOTE) ? name.slice(0, -REMOTE.length) : name);
  return { ...failure, className: strip(failure.className), module: strip(failure.module) };
}

function isErrorClass(value: unknown): value is new (message: string) => unknown {
  return typeof value === 'function' && (value === Error || value.prototype instanceof Error);
}

function textOf(value: unknown, otherwise: string): string {
  return typeof value === 'string' ? value : otherwise;
}

function bounded(message: string): string {
  return message.length > LONGEST_MESSAGE ? `${message.slice(0, LONGEST_MESSAGE)}…` : message;
}
