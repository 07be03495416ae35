/** What a scenario asks of a client of AMQP. Each adapter uses its library as the library's own documentation says is best. */
import type { Properties } from './wire.ts';

export interface Message {
  readonly body: Buffer;
  readonly properties: Properties | undefined;
  /** Encoded by the client for each message, in place of `body`. */
  readonly json: object | undefined;
}

export interface Publisher {
  /** So many messages without confirms, with the back-pressure that the library offers. `channel`: which of its channels. */
  batch(queue: string, message: Message, count: number, channel: number): Promise<void>;
  /** One message; `done` when its confirm has come. Only on a publisher that was opened for it. */
  confirmed(queue: string, message: Message, done: (error?: unknown) => void, channel: number): void;
  /** Resolves when the broker has read everything that was published. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface PublisherOptions {
  readonly confirm: boolean;
  readonly channels: number;
}

export interface ConsumerOptions {
  readonly queue: string;
  readonly ack: boolean;
  readonly prefetch: number;
  /** Touch every header. */
  readonly read: boolean;
  /** Make an object of the body. */
  readonly json: boolean;
  /** So many consumers, on one channel each. */
  readonly consumers: number;
}

export interface Closable {
  close(): Promise<void>;
}

export interface Adapter {
  publisher(url: string, options: PublisherOptions): Promise<Publisher>;
  consumer(url: string, options: ConsumerOptions, onMessage: () => void): Promise<Closable>;
  /** A connection with so many channels, all of them idle. */
  channels(url: string, count: number): Promise<Closable>;
}

/** Sums up what was touched, so that no engine may leave the touching out. */
export function touch(headers: Readonly<Record<string, unknown>> | undefined): number {
  let sum = 0;
  for (const key in headers) if (headers[key] !== null) sum++;
  return sum;
}

export function toJson({ body, json }: Message): Buffer {
  return json === undefined ? body : Buffer.from(JSON.stringify(json));
}
