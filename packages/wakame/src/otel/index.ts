/**
 * OpenTelemetry (`wakame/otel`): spans and metrics of publishing, receiving, processing and settling, and trace context in the headers of
 * messages, by the semantic conventions for messaging. Needs the package `@opentelemetry/api`, and an SDK for anything to come of it.
 *
 * ```ts
 * import { instrument } from 'wakame/otel';
 *
 * instrument(); // once, after the SDK was started
 * ```
 *
 * It listens to the `diagnostics_channel` tracing channels that `tracing` of `wakame` lists, and patches nothing.
 *
 * @packageDocumentation
 */
import {
  type MeterProvider,
  metrics,
  propagation,
  type TextMapPropagator,
  type TracerProvider,
  trace,
} from '@opentelemetry/api';
import { InvalidArgumentError } from '../errors.js';
import { traced } from '../messaging/handling.js';
import type { Message } from '../messaging/message.js';
import { checkFunction, checkKeys } from '../util/check.js';
import type { DestinationTemplate } from './attributes.js';
import { metricsOf } from './metrics.js';
import { subscribe } from './spans.js';

export type { Destination, DestinationTemplate } from './attributes.js';

/** How {@link instrument} goes about it. */
export interface InstrumentOptions {
  /** Default: the global one. */
  readonly tracerProvider?: TracerProvider | undefined;
  /** Default: the global one. */
  readonly meterProvider?: MeterProvider | undefined;
  /** Writes and reads the headers. Default: the global one, which the SDK sets to W3C trace context and baggage. */
  readonly propagator?: TextMapPropagator | undefined;
  /**
   * What a span of processing or receiving is a child of. `message`, the default: of the span that published the message, so that both are
   * one trace. `none`: it begins a trace of its own. It has a link to the span that published the message in either case.
   */
  readonly parent?: 'message' | 'none' | undefined;
  /** Whether settling has spans. Default true. Metrics count it in any case. */
  readonly settle?: boolean | undefined;
  /**
   * Names destinations for names of spans, and for metrics, where their own names differ too much, such as routing keys with a customer's number
   * in them. Undefined for one: its own name.
   */
  readonly destinationTemplate?: DestinationTemplate | undefined;
}

const OPTIONS: ReadonlySet<string> = new Set<keyof InstrumentOptions>([
  ...(['tracerProvider', 'meterProvider', 'propagator', 'parent', 'settle', 'destinationTemplate'] as const),
]);

let active = false;

/**
 * Begins to tell OpenTelemetry what all connections of this process do. Returns a function that ends it.
 *
 * Throws INVALID_ARGUMENT, also when it was begun already and not ended: every span would be there twice.
 */
export function instrument(options: InstrumentOptions = {}): () => void {
  checkKeys('instrument', options, OPTIONS);
  const { parent = 'message', settle = true, destinationTemplate } = options;
  if (parent !== 'message' && parent !== 'none') {
    throw new InvalidArgumentError(`parent must be 'message' or 'none', not ${String(parent)}`);
  }
  if (typeof settle !== 'boolean') throw new InvalidArgumentError(`settle must be a boolean, not ${String(settle)}`);
  if (destinationTemplate !== undefined) checkFunction('destinationTemplate', destinationTemplate);
  if (active) throw new InvalidArgumentError('instrument() was called before, and not ended');
  active = true;
  const unsubscribe = subscribe({
    tracer: (options.tracerProvider ?? trace).getTracer('wakame'),
    metrics: metricsOf(options.meterProvider ?? metrics),
    propagator: options.propagator ?? propagation,
    ...{ parent, settle, template: destinationTemplate },
  });
  let ended = false;
  return () => {
    if (ended) return;
    ended = true;
    active = false;
    unsubscribe();
  };
}

/**
 * Runs a function on a message as a handler would be: within a span of processing, of which the spans that the function makes are children.
 * For the body of a `for await` loop, and for messages from `get`. Resolves and rejects as the function does.
 */
export function processMessage<T, R>(
  message: Message<T>,
  process: (message: Message<T>) => R | PromiseLike<R>,
): Promise<R> {
  return traced(message, process);
}
