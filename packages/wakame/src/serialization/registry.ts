import {
  ContentDisallowed,
  DecodeError,
  EncodeError,
  InvalidArgumentError,
  NotSupportedError,
  SerializationError,
  SerializerNotInstalled,
} from '../errors.js';
import { checkString, show } from '../util/check.js';
import { didYouMean } from '../util/nearest.js';
import { jsonSerializer } from './json.js';
import { msgpackSerializer } from './msgpack/index.js';
import { encodeRaw, rawSerializer, textSerializer } from './plain.js';
import type { Serialized, Serializer } from './serializer.js';
import { yamlSerializer } from './yaml.js';

/** The content types that a consumer takes. Made by {@link SerializerRegistry.prepareAccept}. */
export class AcceptList {
  readonly contentTypes: ReadonlySet<string>;

  constructor(contentTypes: ReadonlySet<string>) {
    this.contentTypes = contentTypes;
  }

  /** Whether bodies of this content type are read. */
  accepts(contentType: string): boolean {
    return this.contentTypes.has(contentType) || contentType === DATA;
  }
}

/** Bytes without a format are always accepted: nothing is decoded. */
const DATA = 'application/data';

const PICKLE: ReadonlySet<string> = new Set(['pickle', 'application/x-python-serialize']);
const PICKLE_REFUSED =
  'pickle is Python code that runs when it is read, so it is never read or written here: ' +
  "use 'json' on both sides (Celery: task_serializer='json')";

/**
 * The formats that bodies can have (`kombu.serialization`). `json`, `text`, `raw`, `yaml` and `msgpack` are registered; of these, `yaml`
 * and `msgpack` are read only where `accept` names them, or once they are enabled.
 */
export class SerializerRegistry {
  readonly #byName = new Map<string, Serializer>();
  readonly #byType = new Map<string, Serializer>();
  readonly #disabled = new Set<string>();

  constructor() {
    for (const serializer of [jsonSerializer(), textSerializer, rawSerializer, yamlSerializer, msgpackSerializer]) {
      this.register(serializer);
    }
    this.disable('yaml');
    this.disable('msgpack');
  }

  /** Adds a format, or replaces the one of that name or content type. It is enabled. Throws INVALID_ARGUMENT. */
  register(serializer: Serializer): void {
    const name = checkString('name', serializer.name);
    const contentType = checkString('contentType', serializer.contentType);
    checkString('contentEncoding', serializer.contentEncoding);
    if (name === '' || name.includes('/')) throw new InvalidArgumentError(`${show(name)} cannot name a serializer`);
    if (!/^[^/\s;]+\/[^/\s;]+$/.test(contentType)) {
      throw new InvalidArgumentError(`contentType must be a MIME type, not ${show(contentType)}`);
    }
    const former = new Set([this.#byName.get(name), this.#byType.get(contentType.toLowerCase())]);
    for (const serializer of former) if (serializer !== undefined) this.unregister(serializer.name);
    this.#byName.set(name, serializer);
    this.#byType.set(contentType.toLowerCase(), serializer);
  }

  /** Removes a format, by name or content type. Throws INVALID_ARGUMENT when there is none. */
  unregister(nameOrType: string): void {
    const serializer = this.#get(nameOrType);
    const contentType = serializer.contentType.toLowerCase();
    this.#byName.delete(serializer.name);
    this.#byType.delete(contentType);
    this.#disabled.delete(contentType);
  }

  /** Whether a format of this name or content type is registered, enabled or not. */
  has(nameOrType: string): boolean {
    return this.#find(nameOrType) !== undefined;
  }

  /** Lets consumers without `accept` read a format, by name or content type. Throws INVALID_ARGUMENT, for pickle NOT_SUPPORTED. */
  enable(nameOrType: string): void {
    this.#disabled.delete(this.#typeOf(nameOrType));
  }

  /** The contrary of {@link enable}. */
  disable(nameOrType: string): void {
    this.#disabled.add(this.#typeOf(nameOrType));
  }

  /** Kombu's `enable_insecure_serializers`: {@link enable} for several. Default: `yaml` and `msgpack`. */
  enableInsecure(choices: Iterable<string> = ['yaml', 'msgpack']): void {
    for (const choice of choices) this.enable(choice);
  }

  /** Kombu's `disable_insecure_serializers`: disables every format but those named, plain text and bytes. Default: `json`. */
  disableInsecure(allowed: Iterable<string> = ['json']): void {
    const kept = new Set([...allowed].map((name) => this.#typeOf(name)));
    for (const type of this.#byType.keys()) {
      if (kept.has(type)) this.#disabled.delete(type);
      else if (type !== textSerializer.contentType && type !== DATA) this.#disabled.add(type);
    }
  }

  /**
   * Checks what a consumer accepts: names of serializers or content types. Absent: JSON, text and bytes, and what else is
   * registered and not disabled. Throws INVALID_ARGUMENT for a name that nobody registered, NOT_SUPPORTED for pickle.
   */
  prepareAccept(accept: Iterable<string> | undefined): AcceptList | undefined {
    if (accept === undefined) return undefined;
    if (typeof accept === 'string') throw new InvalidArgumentError(`accept must be a list, not ${show(accept)}`);
    return new AcceptList(new Set(Array.from(accept, (item) => this.#typeOf(checkString('accept', item)))));
  }

  /**
   * A value as the body of a message. Without a serializer a string becomes `text/plain`, bytes `application/data`, and
   * anything else JSON. Throws ENCODE_FAILED; INVALID_ARGUMENT for what nobody registered.
   *
   * @param serializer Its name or content type, or itself.
   */
  dumps(value: unknown, serializer?: string | Serializer): Serialized {
    const { name, contentType, contentEncoding, encode } = this.#chooseFor(value, serializer);
    if (name === 'raw' && encode === undefined) return encodeRaw(value);
    if (encode === undefined) throw new SerializerNotInstalled(`the serializer '${name}' only reads`);
    try {
      return { contentType, contentEncoding, body: encode(value) };
    } catch (cause) {
      if (cause instanceof SerializationError) throw cause;
      throw new EncodeError(`${name}: ${messageOf(cause)}`, { cause });
    }
  }

  /**
   * The value of a body. An empty body is returned as it is, whatever its type. Throws CONTENT_DISALLOWED, before it looks at
   * the body, and DECODE_FAILED.
   *
   * @param contentType Absent: `application/data`. Parameters (`; charset=utf-8`) are understood.
   * @param contentEncoding The charset, or `binary`. Absent: `utf-8`.
   * @param accept What to accept, as names or content types, or prepared by {@link prepareAccept}.
   */
  loads(
    body: Uint8Array,
    contentType: string | undefined,
    contentEncoding: string | undefined,
    accept?: AcceptList | Iterable<string> | undefined,
  ): unknown {
    let type = contentType === undefined || contentType === '' ? DATA : contentType;
    let encoding = contentEncoding;
    if (!this.#byType.has(type)) {
      const parsed = parseContentType(type);
      type = parsed.type;
      encoding = parsed.charset ?? encoding;
    }
    const list = accept === undefined || accept instanceof AcceptList ? accept : this.prepareAccept(accept);
    this.#checkAllowed(type, list);
    const serializer = this.#byType.get(type) ?? rawSerializer;
    if (body.length === 0 && serializer !== textSerializer) return body;
    if (serializer.decode === undefined) throw new DecodeError(`the serializer '${serializer.name}' only writes`);
    try {
      return serializer.decode(body, encoding === undefined || encoding === '' ? 'utf-8' : encoding.toLowerCase());
    } catch (cause) {
      if (cause instanceof SerializationError) throw cause;
      throw new DecodeError(`${serializer.name}: ${messageOf(cause)}`, { cause });
    }
  }

  #checkAllowed(type: string, accept: AcceptList | undefined): void {
    const allowed = accept === undefined ? this.#byType.has(type) && !this.#disabled.has(type) : accept.accepts(type);
    if (allowed) return;
    if (PICKLE.has(type)) throw new ContentDisallowed(PICKLE_REFUSED);
    const name = this.#byType.get(type)?.name;
    const hint = accept === undefined && name !== undefined ? ` (to accept it: accept: ['${name}'])` : '';
    throw new ContentDisallowed(`content of type ${show(type)} is not accepted${hint}`);
  }

  #chooseFor(value: unknown, serializer: string | Serializer | undefined): Serializer {
    if (typeof serializer === 'object') return serializer;
    if (serializer !== undefined) return this.#get(serializer);
    if (typeof value === 'string') return textSerializer;
    return value instanceof Uint8Array || value instanceof ArrayBuffer ? rawSerializer : this.#get('json');
  }

  #get(nameOrType: string): Serializer {
    const serializer = this.#find(nameOrType);
    if (serializer !== undefined) return serializer;
    if (PICKLE.has(nameOrType)) throw new NotSupportedError(PICKLE_REFUSED);
    throw new SerializerNotInstalled(
      `no serializer is registered as ${show(nameOrType)}${didYouMean(nameOrType, this.#byName.keys())}`,
    );
  }

  #find(nameOrType: string): Serializer | undefined {
    if (!nameOrType.includes('/')) return this.#byName.get(nameOrType);
    return this.#byType.get(nameOrType) ?? this.#byType.get(parseContentType(nameOrType).type);
  }

  #typeOf(nameOrType: string): string {
    if (PICKLE.has(nameOrType) && !this.#byName.has(nameOrType)) throw new NotSupportedError(PICKLE_REFUSED);
    return (nameOrType.includes('/') ? nameOrType : this.#get(nameOrType).contentType).toLowerCase();
  }
}

/** `application/json; charset=latin1`, as HTTP has it (RFC 9110 section 8.3). */
function parseContentType(text: string): { readonly type: string; readonly charset: string | undefined } {
  const [type = '', ...parameters] = text.split(';');
  const charset = parameters
    .map((parameter) => /^\s*charset\s*=\s*"?([^"\s]+)"?\s*$/i.exec(parameter)?.[1])
    .find(Boolean);
  return { type: type.trim().toLowerCase(), charset };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The registry that the library uses. */
export const serialization = new SerializerRegistry();
