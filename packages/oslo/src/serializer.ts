import { parseJson, writeJson } from 'wakame/wire';
import type { Context } from './wire/envelope.js';

/**
 * Turns what an application works with into what JSON can hold, and back (`oslo_messaging.Serializer`): arguments, results, payloads one by
 * one, and contexts.
 */
export interface Serializer {
  /** Of an argument, a result or a payload that is sent. */
  serializeEntity(context: Context, entity: unknown): unknown;
  /** Of an argument, a result or a payload that came. */
  deserializeEntity(context: Context, entity: unknown): unknown;
  /** Of the context that goes with a request. */
  serializeContext(context: Context): Context;
  /** Of a request that came, for the endpoint. */
  deserializeContext(context: Context): Context;
}

/** Leaves everything as it is: what is sent has to be what JSON can hold. The default. */
export class NoOpSerializer implements Serializer {
  serializeEntity(_context: Context, entity: unknown): unknown {
    return entity;
  }

  deserializeEntity(_context: Context, entity: unknown): unknown {
    return entity;
  }

  serializeContext(context: Context): Context {
    return context;
  }

  deserializeContext(context: Context): Context {
    return context;
  }
}

/**
 * Makes plain JSON values of entities before they go anywhere, as `JSON.stringify` would read them: methods named `toJSON` are asked, dates become
 * text. So the memory transport and a broker hand out the same.
 */
export class JsonPayloadSerializer extends NoOpSerializer {
  /** Throws ENCODE_FAILED for what JSON cannot hold. */
  override serializeEntity(_context: Context, entity: unknown): unknown {
    return entity === undefined ? null : parseJson(writeJson(entity));
  }
}
