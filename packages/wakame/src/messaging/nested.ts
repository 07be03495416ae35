import type { CloseOptions } from '../connection/close-options.js';
import type { ConsumeStartOptions } from './consumer.js';

/** What {@link nested} needs of a consumer. */
export interface Nestable {
  /** Begins consuming. */
  consume(options?: ConsumeStartOptions): Promise<unknown>;
  /** Ends consuming. */
  cancel(): Promise<void>;
  /** Ends consuming, for good. */
  close(options?: CloseOptions): Promise<void>;
}

/** Several consumers that are started and closed together. */
export interface NestedConsumers<C extends readonly Nestable[]> extends AsyncDisposable {
  readonly consumers: C;
  /** Starts them, the first first. When one cannot be started, those before it are cancelled, and it rejects with the reason. */
  consume(options?: ConsumeStartOptions): Promise<void>;
  /** Cancels them, the last first. */
  cancel(): Promise<void>;
  /** Closes them, the last first. */
  close(options?: CloseOptions): Promise<void>;
}

/**
 * Takes several consumers together, as Kombu's `nested` does contexts:
 *
 * ```ts
 * await using both = nested(orders, invoices);
 * await both.consume();
 * ```
 */
export function nested<const C extends readonly Nestable[]>(...consumers: C): NestedConsumers<C> {
  const backwards = consumers.toReversed();
  const close: NestedConsumers<C>['close'] = async (options) => {
    for (const consumer of backwards) await consumer.close(options);
  };
  return {
    consumers,
    async consume(options) {
      const started: Nestable[] = [];
      try {
        for (const consumer of consumers) {
          await consumer.consume(options);
          started.unshift(consumer);
        }
      } catch (error) {
        for (const consumer of started) await consumer.cancel();
        throw error;
      }
    },
    async cancel() {
      for (const consumer of backwards) await consumer.cancel();
    },
    close,
    [Symbol.asyncDispose]: () => close(),
  };
}
