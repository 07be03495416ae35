import { ConfirmRing } from './confirms.js';
import { copyError } from './error-copies.js';
import { MessageNacked, MessagingError, type ReturnedMessage, UnexpectedFrame, UnroutableError } from './errors.js';
import type { ReturnedDelivery } from './messages.js';
import { ByteWriter } from './protocol/bytes.js';
import { encodeProperties } from './protocol/properties.js';
import type { BasicProperties } from './protocol/types.js';

/** A message to be published. */
export interface OutgoingMessage {
  readonly exchange: string;
  readonly routingKey: string;
  readonly mandatory?: boolean | undefined;
  readonly immediate?: boolean | undefined;
  readonly properties?: BasicProperties | undefined;
  /** From 16 KiB on it is sent from where it lies: it must not change before it was written. */
  readonly body: Uint8Array | string;
}

/** Is told what became of a published message: one of the two, once. Called while frames are read: be short. */
export interface Settlement {
  /** The broker has taken responsibility. */
  confirmed(): void;
  /** `error.outcome` tells whether the broker can have the message. */
  failed(error: MessagingError): void;
}

/** A mandatory publish that waits for its confirm. It remembers its message, by which a basic.return finds it. */
class Mandatory implements Settlement {
  readonly message: OutgoingMessage;
  returned: ReturnedMessage | undefined;
  readonly #settlement: Settlement;

  constructor(message: OutgoingMessage, settlement: Settlement) {
    this.message = message;
    this.returned = undefined;
    this.#settlement = settlement;
  }

  confirmed(): void {
    if (this.returned === undefined) this.#settlement.confirmed();
    else this.#settlement.failed(new UnroutableError(this.returned));
  }

  failed(error: MessagingError): void {
    const { returned } = this;
    const isAnswer = returned !== undefined && error instanceof MessageNacked;
    this.#settlement.failed(isAnswer ? new UnroutableError(returned) : error);
  }
}

function encodedProperties(properties: BasicProperties | undefined): Buffer {
  const writer = new ByteWriter(512);
  writer.begin();
  encodeProperties(writer, properties ?? {});
  return writer.buffer.subarray(writer.mark, writer.position);
}

function sameBody(sent: Uint8Array | string, received: Buffer): boolean {
  return typeof sent === 'string' ? Buffer.from(sent).equals(received) : received.equals(sent);
}

/**
 * The publishing half of a channel: counts delivery tags, matches confirms and returns, and holds messages back while the
 * broker has stopped the flow.
 */
export class Publisher {
  readonly #send: (message: OutgoingMessage) => void;
  readonly #report: (error: unknown) => void;
  #ring: ConfirmRing<Settlement> | undefined;
  /** Messages that wait for channel.flow(true). */
  #held: { readonly message: OutgoingMessage; readonly settlement: Settlement }[] = [];
  #flowing = true;
  /** The delivery tag of the publish that the last basic.return belonged to. */
  #lastReturned = 0;
  readonly #idle: (() => void)[] = [];

  /**
   * @param send encodes a message onto the channel, or throws and then sent nothing
   * @param report is told of a settlement that threw, which is the user's affair and not the connection's
   */
  constructor(send: (message: OutgoingMessage) => void, report: (error: unknown) => void) {
    this.#send = send;
    this.#report = report;
  }

  /** Every publish from now on is confirmed. From the sending of confirm.select on: the broker counts from there. */
  enableConfirms(): void {
    this.#ring ??= new ConfirmRing<Settlement>();
  }

  get confirming(): boolean {
    return this.#ring !== undefined;
  }

  get flowing(): boolean {
    return this.#flowing;
  }

  /** Publishes that are neither confirmed nor failed. */
  get unsettled(): number {
    return (this.#ring?.size ?? 0) + this.#held.length;
  }

  /** Sends a message, or holds it until the flow goes on. Without confirms it counts as confirmed when it is sent. */
  publish(message: OutgoingMessage, settlement: Settlement): void {
    if (this.#flowing) this.#sendNow(message, settlement);
    else this.#held.push({ message, settlement });
  }

  /** Sends a message; returns why it could not be sent, if so. */
  send(message: OutgoingMessage): MessagingError | undefined {
    try {
      this.#send(message);
      return undefined;
    } catch (error) {
      if (!(error instanceof MessagingError)) throw error;
      error.outcome = 'not-sent';
      return error;
    }
  }

  #sendNow(message: OutgoingMessage, settlement: Settlement): void {
    const failure = this.send(message);
    if (failure !== undefined || this.#ring === undefined) {
      this.#tell(settlement, failure);
    } else {
      this.#ring.push(message.mandatory || message.immediate ? new Mandatory(message, settlement) : settlement);
    }
  }

  setFlow(active: boolean): void {
    this.#flowing = active;
    if (!active) return;
    const held = this.#held;
    this.#held = [];
    for (const { message, settlement } of held) this.#sendNow(message, settlement);
    this.#tellIdle();
  }

  /**
   * basic.ack or basic.nack from the broker.
   *
   * @throws UnexpectedFrame (505) when it confirms what was never published
   */
  onConfirm(method: 'basic.ack' | 'basic.nack', deliveryTag: number, multiple: boolean): void {
    const tell = method === 'basic.ack' ? this.#confirmed : this.#refused;
    if (this.#ring?.settle(deliveryTag, multiple, tell) !== true) {
      throw new UnexpectedFrame(
        `the server sent ${method} for delivery tag ${deliveryTag}, which was never published`,
        {
          replyCode: 505,
        },
      );
    }
    this.#tellIdle();
  }

  /**
   * basic.return: marks the publish that it belongs to, which fails when its confirm comes. The broker names no delivery
   * tag. So it is the oldest mandatory publish with the same exchange, routing key, properties and body; where there is
   * none (a broker may rewrite properties) with the same body; else with the same exchange and routing key.
   *
   * @returns false when no publish was waiting for it
   */
  onReturn(returned: ReturnedDelivery): boolean {
    const ring = this.#ring;
    if (ring === undefined) return false;
    const { exchange, routingKey, replyCode, replyText } = returned;
    const addressed = (entry: Settlement): entry is Mandatory =>
      entry instanceof Mandatory &&
      entry.returned === undefined &&
      entry.message.routingKey === routingKey &&
      entry.message.exchange === exchange;
    const sameContent = (entry: Settlement): entry is Mandatory =>
      addressed(entry) && sameBody(entry.message.body, returned.body);
    const same = (entry: Settlement) =>
      sameContent(entry) && encodedProperties(entry.message.properties).equals(returned.properties.bytes);
    // Brokers return in the order of publishing, so the match is mostly the one after the last.
    const tag =
      ring.find(same, this.#lastReturned + 1) ?? ring.find(same) ?? ring.find(sameContent) ?? ring.find(addressed);
    const match = tag === undefined ? undefined : ring.get(tag);
    if (tag === undefined || !(match instanceof Mandatory)) return false;
    match.returned = { replyCode, replyText, exchange, routingKey };
    this.#lastReturned = tag;
    return true;
  }

  /** The channel is over: everything unsettled fails. What was held back was not sent, the rest may have arrived. */
  failAll(error: MessagingError): void {
    const held = this.#held;
    this.#held = [];
    if (this.#ring !== undefined && this.#ring.size > 0) {
      const unknown = copyError(error, 'unknown');
      this.#ring.settle(0, true, (settlement) => this.#tell(settlement, unknown));
    }
    if (held.length > 0) {
      const notSent = copyError(error, 'not-sent');
      for (const { settlement } of held) this.#tell(settlement, notSent);
    }
    this.#tellIdle();
  }

  readonly #confirmed = (settlement: Settlement): void => this.#tell(settlement, undefined);

  readonly #refused = (settlement: Settlement): void => {
    const text = 'the broker refused the message (basic.nack)';
    this.#tell(settlement, new MessageNacked(text, { outcome: 'refused' }));
  };

  #tell(settlement: Settlement, error: MessagingError | undefined): void {
    try {
      if (error === undefined) settlement.confirmed();
      else settlement.failed(error);
    } catch (failure) {
      this.#report(failure);
    }
  }

  /** Resolves when every publish is settled. */
  idle(): Promise<void> {
    if (this.unsettled === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  #tellIdle(): void {
    if (this.#idle.length === 0 || this.unsettled > 0) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}
