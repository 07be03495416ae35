/** The metrics of the conventions for messaging clients. */
import type { Attributes, MeterProvider } from '@opentelemetry/api';

/** Seconds, as the conventions advise. */
const BOUNDARIES = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

export interface Metrics {
  /** A message was published, or could not be. */
  sent(attributes: Attributes): void;
  /** A message reached the application. */
  consumed(attributes: Attributes): void;
  /** An operation took so many milliseconds. */
  took(milliseconds: number, attributes: Attributes): void;
}

export function metricsOf(provider: MeterProvider): Metrics {
  const meter = provider.getMeter('wakame');
  const duration = (name: string, description: string) =>
    meter.createHistogram(name, { description, unit: 's', advice: { explicitBucketBoundaries: BOUNDARIES } });
  const count = (name: string, description: string) => meter.createCounter(name, { description, unit: '{message}' });

  const operation = duration('messaging.client.operation.duration', 'Duration of publishing, receiving and settling.');
  const process = duration('messaging.process.duration', 'Duration of handlers.');
  const sent = count('messaging.client.sent.messages', 'Messages published.');
  const consumed = count('messaging.client.consumed.messages', 'Messages delivered to the application.');
  return {
    sent: (attributes) => sent.add(1, attributes),
    consumed: (attributes) => consumed.add(1, attributes),
    took: (milliseconds, attributes) => {
      const histogram = attributes['messaging.operation.type'] === 'process' ? process : operation;
      histogram.record(milliseconds / 1000, attributes);
    },
  };
}
