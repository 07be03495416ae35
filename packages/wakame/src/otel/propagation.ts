/** Trace context in the headers of messages, as other libraries and Python's instrumentations write and read it: `traceparent` and the like. */
import type { TextMapGetter, TextMapSetter } from '@opentelemetry/api';

export const headerSetter: TextMapSetter<Record<string, unknown>> = {
  set: (headers, key, value) => {
    headers[key] = value;
  },
};

/** Headers of foreign messages may be bytes; what is neither text nor bytes is none of ours. */
export const headerGetter: TextMapGetter<Readonly<Record<string, unknown>>> = {
  keys: (headers) => Object.keys(headers),
  get: (headers, key) => {
    const value = Object.hasOwn(headers, key) ? headers[key] : undefined;
    if (typeof value === 'string') return value;
    return value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : undefined;
  },
};
