/** The bridge to OpenTelemetry, with the real SDK. */
import {
  type Context,
  context,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { brokerUrl } from '../../../scripts/lib/brokers/environment.ts';
import { Connection, Exchange, Queue } from '../src/index.js';
import { type InstrumentOptions, instrument, processMessage } from '../src/otel/index.js';
import { resetMemory } from '../src/transports/memory/index.js';
import { Count, failure } from './messaging/support.js';

const spanExporter = new InMemorySpanExporter();
const tracerProvider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter: spanExporter })] });
const metricExporter = new InMemoryMetricExporter(AggregationTemporality.DELTA);
const reader = new PeriodicExportingMetricReader({ exporter: metricExporter, exportIntervalMillis: 3_600_000 });
const meterProvider = new MeterProvider({ readers: [reader] });
const tracer = tracerProvider.getTracer('application');

let connection: Connection;
let stop: () => void = () => undefined;

beforeAll(() => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
});

afterAll(async () => {
  context.disable();
  await meterProvider.shutdown();
  await tracerProvider.shutdown();
});

beforeEach(async () => {
  spanExporter.reset();
  await reader.forceFlush();
  metricExporter.reset();
  connection = new Connection('memory://otel');
});

afterEach(async () => {
  stop();
  stop = () => undefined;
  await connection.close();
  resetMemory('otel');
});

function begin(options: InstrumentOptions = {}): void {
  const propagator = new W3CTraceContextPropagator();
  stop = instrument({ tracerProvider, meterProvider, propagator, ...options });
}

function spans(name: RegExp): ReadableSpan[] {
  return spanExporter.getFinishedSpans().filter((span) => name.test(span.name));
}

function only(name: RegExp): ReadableSpan {
  const found = spans(name);
  expect(found.map((span) => span.name)).toHaveLength(1);
  return found[0]!;
}

/** Runs within a span of the application's. */
function within<R>(name: string, run: (span: Span) => Promise<R>): Promise<R> {
  return tracer.startActiveSpan(name, (span) => run(span).finally(() => span.end()));
}

/** Each point of each metric, as `name operation error` and its count. */
async function counts(): Promise<Record<string, number>> {
  await reader.forceFlush();
  const found: Record<string, number> = {};
  for (const { scopeMetrics } of metricExporter.getMetrics()) {
    for (const { descriptor, dataPoints } of scopeMetrics.flatMap(({ metrics }) => metrics)) {
      for (const { attributes, value } of dataPoints) {
        const words = [descriptor.name, attributes['messaging.operation.name'], attributes['error.type']];
        const key = words.filter((word) => word !== undefined).join(' ');
        found[key] = (found[key] ?? 0) + (typeof value === 'number' ? value : value.count);
      }
    }
  }
  return found;
}

const orders = new Exchange('orders', { type: 'topic' });
const created = new Queue<number>('created', { exchange: orders, routingKey: 'order.created' });

test('one trace from the publisher to what its consumer publishes', async () => {
  begin();
  const handled = new Count();
  const audit = new Queue<number>('audit');
  const producer = connection.producer();
  const consumer = connection.consumer(created, {
    settle: 'auto',
    onMessage: async ({ payload }) => {
      await producer.publish(payload, { routingKey: audit.name, declare: [audit] });
      handled.up();
    },
  });
  await consumer.consume();
  await within('request', async () => {
    await producer.publish(7, { exchange: orders, routingKey: 'order.created', messageId: 'm', correlationId: 'c' });
  });
  await handled.reach(1);
  await consumer.close();

  const request = only(/^request$/);
  const publish = only(/^publish orders/);
  const process = only(/^process/);
  const second = only(/^publish audit/);
  const ack = only(/^ack/);
  expect(publish).toMatchObject({
    name: 'publish orders:order.created',
    kind: SpanKind.PRODUCER,
    status: { code: SpanStatusCode.UNSET },
  });
  expect(publish.parentSpanContext?.spanId).toBe(request.spanContext().spanId);
  expect(publish.attributes).toMatchObject({
    'messaging.system': 'memory',
    'messaging.system.name': 'memory',
    'messaging.operation.type': 'send',
    'messaging.operation.name': 'publish',
    'messaging.destination.name': 'orders:order.created',
    'rabbitmq.destination.routing_key': 'order.created',
    'messaging.message.id': 'm',
    'messaging.message.conversation_id': 'c',
    'messaging.message.body.size': 1,
    'server.address': 'otel',
  });
  expect(process).toMatchObject({ name: 'process orders:order.created:created', kind: SpanKind.CONSUMER });
  expect(process.parentSpanContext?.spanId).toBe(publish.spanContext().spanId);
  expect(process.links.map((link) => link.context.spanId)).toEqual([publish.spanContext().spanId]);
  expect(second.parentSpanContext?.spanId).toBe(process.spanContext().spanId);
  expect(ack).toMatchObject({ kind: SpanKind.CLIENT });
  expect(ack.attributes['messaging.operation.type']).toBe('settle');
  expect(ack.parentSpanContext?.spanId).toBe(process.spanContext().spanId);
  const traces = new Set(spanExporter.getFinishedSpans().map((span) => span.spanContext().traceId));
  expect(traces.size).toBe(1);
  // A handler's message is not told as received as well.
  expect(spans(/^receive/)).toEqual([]);
  expect(await counts()).toEqual({
    'messaging.client.sent.messages publish': 2,
    'messaging.client.consumed.messages process': 1,
    'messaging.client.operation.duration publish': 2,
    'messaging.client.operation.duration ack': 1,
    'messaging.process.duration process': 1,
  });
});

test('what a loop or get is given is received; processMessage makes a span of the work on it', async () => {
  begin();
  const queue = new Queue<number>('received').bind(connection);
  await queue.declare();
  await connection.producer().publish(1, { routingKey: queue.name });
  await connection.producer().publish(2, { routingKey: queue.name });
  for await (const message of connection.consumer(queue)) {
    await processMessage(message, async () => {
      expect(trace.getActiveSpan()).toBeDefined();
      await message.ack();
    });
    break;
  }
  await (await queue.get())?.ack();
  const [first, second] = spans(/^receive/);
  expect(first).toMatchObject({ name: 'receive received', kind: SpanKind.CLIENT });
  expect(first!.parentSpanContext?.spanId).toBe(spans(/^publish/)[0]!.spanContext().spanId);
  const process = only(/^process/);
  const acks = spans(/^ack/);
  expect(acks[0]!.parentSpanContext?.spanId).toBe(process.spanContext().spanId);
  expect(acks[1]!.parentSpanContext?.spanId).toBe(second!.spanContext().spanId);
  expect(await counts()).toMatchObject({
    'messaging.client.consumed.messages receive': 2,
    'messaging.process.duration process': 1,
  });
  // Counted once, when it was received.
  expect(await counts()).not.toHaveProperty('messaging.client.consumed.messages process');
});

test('a consumer started within a request does not make later messages part of that', async () => {
  begin();
  const handled = new Count();
  const consumer = connection.consumer(created, { settle: 'auto', onMessage: () => handled.up() });
  await within('starts the consumer', async () => {
    await consumer.consume();
  });
  await connection.producer().publish(1, { exchange: orders, routingKey: 'order.created' });
  await handled.reach(1);
  await consumer.close();
  const stranger = only(/^starts/).spanContext().traceId;
  for (const span of spans(/^(process|ack)/)) expect(span.spanContext().traceId).not.toBe(stranger);
  expect(spans(/^(process|ack)/)).toHaveLength(2);
});

test('a context that the application put into the headers is left as it is, and linked', async () => {
  begin();
  const traceparent = '00-0123456789abcdef0123456789abcdef-0123456789abcdef-01';
  const queue = new Queue('given').bind(connection);
  await queue.declare();
  await connection.producer().publish(1, { routingKey: queue.name, headers: { traceparent } });
  const message = await queue.get({ noAck: true });
  expect(message?.headers['traceparent']).toBe(traceparent);
  expect(only(/^publish/).links.map((link) => link.context.spanId)).toEqual(['0123456789abcdef']);
  expect(only(/^receive/).spanContext().traceId).toBe('0123456789abcdef0123456789abcdef');
});

test('parent none: a trace of its own, with a link', async () => {
  begin({ parent: 'none', settle: false });
  const queue = new Queue('own').bind(connection);
  await queue.declare();
  await connection.producer().publish(1, { routingKey: queue.name });
  const message = await queue.get();
  await message?.ack();
  const publish = only(/^publish/);
  const receive = only(/^receive/);
  expect(receive.parentSpanContext).toBeUndefined();
  expect(receive.links.map((link) => link.context.traceId)).toEqual([publish.spanContext().traceId]);
  expect(spans(/^ack/)).toEqual([]);
  expect(await counts()).toMatchObject({ 'messaging.client.operation.duration ack': 1 });
});

test('errors: of a publish, of a body, of a handler', async () => {
  begin();
  await failure(connection.producer().publish(1, { routingKey: 'nowhere', mandatory: true }));
  const publish = only(/^publish/);
  expect(publish.status.code).toBe(SpanStatusCode.ERROR);
  expect(publish.attributes['error.type']).toBe('UNROUTABLE');

  const queue = new Queue('bad').bind(connection);
  await queue.declare();
  await connection
    .producer()
    .publish('{', { routingKey: queue.name, contentType: 'application/json', contentEncoding: 'utf-8' });
  await failure(queue.get());
  expect(only(/^receive/).attributes['error.type']).toBe('DECODE_FAILED');
  expect(spans(/^reject/)).toHaveLength(1);

  const handled = new Count();
  const consumer = connection.consumer(queue, {
    onMessage: () => {
      throw new RangeError('too much');
    },
    onHandlerError: () => {
      handled.up();
      return 'ack';
    },
  });
  consumer.on('handlerError', () => undefined);
  await consumer.consume();
  await connection.producer().publish(1, { routingKey: queue.name });
  await handled.reach(1);
  await consumer.close();
  const process = only(/^process/);
  expect(process.status).toEqual({ code: SpanStatusCode.ERROR, message: 'too much' });
  expect(process.attributes['error.type']).toBe('RangeError');
  expect(process.events.map(({ name }) => name)).toEqual(['exception']);
  expect(await counts()).toMatchObject({
    'messaging.client.sent.messages publish UNROUTABLE': 1,
    'messaging.process.duration process RangeError': 1,
  });
});

test('names with many values are told by a template, or left out of names and metrics', async () => {
  begin({
    destinationTemplate: ({ routingKey }) => (/^customer\.\d+$/.test(routingKey) ? 'customer.{id}' : undefined),
  });
  const customer = new Queue('customer.17');
  const replies = new Queue('', { exclusive: true }).bind(connection);
  await connection.producer().publish(1, { routingKey: customer.name, declare: [customer] });
  const templated = only(/^publish/);
  expect(templated.name).toBe('publish customer.{id}');
  expect(templated.attributes['messaging.destination.name']).toBe('customer.17');
  spanExporter.reset();
  await replies.declare();
  await connection.producer().publish(1, { routingKey: replies.name });
  expect(only(/^publish/).name).toBe('publish');
  expect(only(/^publish/).attributes['messaging.destination.anonymous']).toBe(true);
});

test('over RabbitMQ: the same, by the header traceparent', async () => {
  begin();
  await using rabbitmq = new Connection(brokerUrl('rabbitmq'));
  const queue = new Queue('', { exclusive: true }).bind(rabbitmq);
  await queue.declare();
  await rabbitmq.producer().publish(1, { routingKey: queue.name });
  const message = await queue.get();
  await message?.ack();
  const publish = only(/^publish/);
  expect(publish.attributes['messaging.system']).toBe('rabbitmq');
  const { traceId, spanId } = publish.spanContext();
  expect(message?.headers['traceparent']).toBe(`00-${traceId}-${spanId}-01`);
  expect(only(/^receive/).parentSpanContext?.spanId).toBe(spanId);
  expect(only(/^ack/).spanContext().traceId).toBe(traceId);
});

test('headers as bytes, as some clients write them', async () => {
  const { headerGetter } = await import('../src/otel/propagation.js');
  const headers = { traceparent: Buffer.from('00-0123456789abcdef0123456789abcdef-0123456789abcdef-01'), n: 1 };
  const extracted: Context = new W3CTraceContextPropagator().extract(ROOT_CONTEXT, headers, headerGetter);
  expect(trace.getSpanContext(extracted)?.spanId).toBe('0123456789abcdef');
  expect(headerGetter.get(headers, 'n')).toBeUndefined();
  expect(headerGetter.get(headers, 'toString')).toBeUndefined();
  expect(headerGetter.keys(headers)).toEqual(['traceparent', 'n']);
});

test('begun twice, or with what makes no sense: INVALID_ARGUMENT; ended, nothing is told', async () => {
  begin();
  expect(() => instrument()).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
  stop();
  stop();
  expect(() => instrument({ parent: 'me' as 'none' })).toThrow('parent');
  expect(() => instrument({ setle: false } as object)).toThrow('setle');
  const queue = new Queue('quiet').bind(connection);
  await queue.declare();
  await connection.producer().publish(1, { routingKey: queue.name });
  expect((await queue.get({ noAck: true }))?.headers).toEqual({});
  expect(spanExporter.getFinishedSpans()).toEqual([]);
  // The global providers are those of whoever has none: it works, and nothing comes of it.
  stop = instrument();
  await connection.producer().publish(1, { routingKey: queue.name });
  propagation.disable();
});
