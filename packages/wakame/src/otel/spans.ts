/**
 * Spans, made of what the tracing channels tell:
 *
 * ```
 *   publish  PRODUCER  child of what is active; its context goes into the headers
 *   receive  CLIENT    a message handed to whoever asked for it                    ┐ link to the publish span,
 *   process  CONSUMER  a handler at work; active while it runs                     ├ and child of it, unless told otherwise
 *   settle   CLIENT    ack, reject, requeue; child of process or receive           ┘
 * ```
 *
 * A consumer runs in whatever context it was started in, perhaps that of a request long done: nothing of that is taken for a parent.
 */
import {
  type Attributes,
  type Context,
  context as contexts,
  type Link,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type TextMapGetter,
  type TextMapSetter,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { type BrokerAddress, type ProcessContext, type PublishContext, tracing } from '../tracing.js';
import type { Delivery } from '../transport/message.js';
import {
  commonAttributes,
  type Destination,
  type DestinationTemplate,
  errorType,
  messageAttributes,
  type Operation,
  spanName,
} from './attributes.js';
import type { Metrics } from './metrics.js';
import { headerGetter, headerSetter } from './propagation.js';

export interface Telemetry {
  readonly tracer: Tracer;
  readonly metrics: Metrics;
  readonly propagator: {
    inject(context: Context, carrier: Record<string, unknown>, setter: TextMapSetter<Record<string, unknown>>): void;
    extract(context: Context, carrier: unknown, getter: TextMapGetter<Readonly<Record<string, unknown>>>): Context;
  };
  readonly parent: 'message' | 'none';
  readonly settle: boolean;
  readonly template: DestinationTemplate | undefined;
}

/** An operation that has begun. */
interface Work {
  readonly span: Span | undefined;
  /** Those of metrics. */
  readonly attributes: Attributes;
  readonly began: number;
}

/** Subscribes to all channels. Returns how to stop. */
export function subscribe(telemetry: Telemetry): () => void {
  const works = new WeakMap<object, Work>();
  /** The context of the span in which a message was received or processed: what settles it is part of that. */
  const handled = new WeakMap<Delivery, Context>();
  const { metrics, propagator } = telemetry;

  function begin(
    key: object,
    operation: Operation,
    kind: SpanKind,
    about: { broker: BrokerAddress; destination: Destination; parent: Context; links?: Link[]; message: Attributes },
  ): Work {
    const common = commonAttributes(operation, about.broker, about.destination, telemetry.template);
    const silent = operation.type === 'settle' && !telemetry.settle;
    const span = silent
      ? undefined
      : telemetry.tracer.startSpan(
          spanName(operation, common),
          { kind, attributes: { ...common, ...about.message }, links: about.links ?? [] },
          about.parent,
        );
    const work = { span, attributes: common, began: performance.now() };
    works.set(key, work);
    return work;
  }

  /** Ends the span, and gives the attributes for metrics. */
  function finish(key: { error?: unknown }): Attributes | undefined {
    const work = works.get(key);
    if (work === undefined) return undefined;
    works.delete(key);
    const { error } = key;
    let { attributes } = work;
    if (error !== undefined) {
      const type = errorType(error);
      attributes = { ...attributes, 'error.type': type };
      work.span?.setAttribute('error.type', type);
      if (error instanceof Error) work.span?.recordException(error);
      work.span?.setStatus({
        code: SpanStatusCode.ERROR,
        message: error instanceof Error ? error.message : String(error),
      });
    }
    work.span?.end();
    metrics.took(performance.now() - work.began, attributes);
    return attributes;
  }

  /** What a span about a delivery begins with. */
  function delivered(broker: BrokerAddress, queue: string, delivery: Delivery) {
    const { exchange, routingKey, properties, body } = delivery;
    const destination = { exchange, routingKey, queue };
    const { messageId, correlationId, headers = {} } = properties;
    const origin = propagator.extract(ROOT_CONTEXT, headers, headerGetter);
    const creator = trace.getSpanContext(origin);
    return {
      ...{ broker, destination },
      parent: telemetry.parent === 'message' ? origin : ROOT_CONTEXT,
      links: creator === undefined ? [] : [{ context: creator }],
      message: messageAttributes(destination, { messageId, correlationId, bodySize: body.byteLength }),
    };
  }

  const publish = {
    start(event: PublishContext): void {
      const { exchange, routingKey, messageId, correlationId, broker, headers } = event;
      const destination = { exchange, routingKey };
      const parent = contexts.active();
      // A context that the application has put there is the message's.
      const given = trace.getSpanContext(propagator.extract(ROOT_CONTEXT, headers, headerGetter));
      const { span } = begin(event, { type: 'send', name: 'publish' }, SpanKind.PRODUCER, {
        ...{ broker, destination, parent, links: given === undefined ? [] : [{ context: given }] },
        message: messageAttributes(destination, { messageId, correlationId }),
      });
      if (given === undefined && span !== undefined) {
        propagator.inject(trace.setSpan(parent, span), headers, headerSetter);
      }
    },
    asyncEnd(event: PublishContext): void {
      if (event.bodySize !== undefined)
        works.get(event)?.span?.setAttribute('messaging.message.body.size', event.bodySize);
      const attributes = finish(event);
      if (attributes !== undefined) metrics.sent(attributes);
    },
  };

  const receive = {
    start(event: Parameters<NonNullable<Subscribers<'receive'>['start']>>[0]): void {
      // What a handler is given is told by its span.
      if (event.recipient === 'handler') return;
      const { broker, queue, delivery } = event;
      const about = delivered(broker, queue, delivery);
      const { span } = begin(event, { type: 'receive', name: 'receive' }, SpanKind.CLIENT, about);
      if (span !== undefined) handled.set(delivery, trace.setSpan(about.parent, span));
    },
    end(event: { error?: unknown }): void {
      const attributes = finish(event);
      if (attributes !== undefined) metrics.consumed(attributes);
    },
  };

  const process = {
    start(event: ProcessContext): void {
      const { broker, queue, delivery, within } = event;
      const about = delivered(broker, queue, delivery);
      const { span, attributes } = begin(event, { type: 'process', name: 'process' }, SpanKind.CONSUMER, about);
      // Received by the application before, it was counted then.
      if (!handled.has(delivery)) metrics.consumed(attributes);
      if (span === undefined) return;
      const inside = trace.setSpan(about.parent, span);
      handled.set(delivery, inside);
      event.within = (run) => contexts.with(inside, () => (within === undefined ? run() : within(run)));
    },
    asyncEnd: finish as (event: ProcessContext) => void,
  };

  const settle = {
    start(event: Parameters<NonNullable<Subscribers<'settle'>['start']>>[0]): void {
      const { broker, queue, delivery, outcome } = event;
      const about = delivered(broker, queue, delivery);
      const parent = handled.get(delivery) ?? about.parent;
      begin(event, { type: 'settle', name: outcome }, SpanKind.CLIENT, { ...about, parent });
    },
    asyncEnd: finish as (event: { error?: unknown }) => void,
  };

  const stops = [
    listen('publish', publish),
    listen('receive', receive),
    listen('process', process),
    listen('settle', settle),
  ];
  return () => {
    for (const stop of stops) stop();
  };
}

type Channels = typeof tracing;
type Subscribers<K extends keyof Channels> = Partial<Parameters<Channels[K]['subscribe']>[0]>;

/** Subscribes to some events of a channel. (Node's own `subscribe` does so, too; its types ask for all of them.) */
function listen<K extends keyof Channels>(name: K, subscribers: Subscribers<K>): () => void {
  const channel = tracing[name] as { subscribe(all: object): void; unsubscribe(all: object): unknown };
  channel.subscribe(subscribers);
  return () => {
    channel.unsubscribe(subscribers);
  };
}
