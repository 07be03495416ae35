const SLOTS = 32;

/** How one destination's publishes begin. `bytes` is only kept from the second publish in sight on. */
interface Template {
  exchange: string;
  routingKey: string;
  flags: number;
  bytes: Buffer | undefined;
}

/**
 * The first bytes of a publish, which are the same for every message to one destination: the whole basic.publish
 * frame and the content header frame up to the body size. Channel numbers and the header frame's size stand in them
 * as they were, and the user overwrites them.
 *
 * A destination has one slot; the next destination that falls into the slot takes it over. One that is used only once
 * (a reply queue) costs a comparison, and nothing is copied for it.
 */
export class PublishTemplates {
  readonly #slots: Template[] = Array.from({ length: SLOTS }, () => ({
    exchange: '',
    routingKey: '',
    flags: -1,
    bytes: undefined,
  }));

  find(exchange: string, routingKey: string, flags: number): Buffer | undefined {
    const slot = this.#slot(exchange, routingKey);
    return isFor(slot, exchange, routingKey, flags) ? slot.bytes : undefined;
  }

  /** Tells what {@link find} had no template for, and how it was encoded: `buffer[start, end)`. */
  missed(exchange: string, routingKey: string, flags: number, buffer: Buffer, start: number, end: number): void {
    const slot = this.#slot(exchange, routingKey);
    if (isFor(slot, exchange, routingKey, flags)) {
      slot.bytes = Buffer.from(buffer.subarray(start, end));
      return;
    }
    slot.exchange = exchange;
    slot.routingKey = routingKey;
    slot.flags = flags;
    slot.bytes = undefined;
  }

  #slot(exchange: string, routingKey: string): Template {
    const { length } = routingKey;
    // NaN, for an empty key, becomes 0.
    const hash = exchange.length * 7 + length * 31 + routingKey.charCodeAt(length - 1) * 3 + routingKey.charCodeAt(0);
    return this.#slots[hash & (SLOTS - 1)] as Template;
  }
}

function isFor(slot: Template, exchange: string, routingKey: string, flags: number): boolean {
  return slot.routingKey === routingKey && slot.exchange === exchange && slot.flags === flags;
}
