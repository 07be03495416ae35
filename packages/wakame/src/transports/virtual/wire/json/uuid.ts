import { InvalidArgumentError } from '../../../../errors.js';
import { show } from '../../../../util/check.js';

/** A UUID from Python (`uuid.UUID`). */
export class Uuid {
  /** 32 hexadecimal digits in lower case. */
  readonly hex: string;

  /** @param text 32 hexadecimal digits; dashes, braces and `urn:uuid:` are passed over. Throws INVALID_ARGUMENT. */
  constructor(text: string) {
    const hex = text.replace(/^urn:|uuid:|[{}-]/g, '').toLowerCase();
    if (!/^[0-9a-f]{32}$/.test(hex)) throw new InvalidArgumentError(`not a UUID: ${show(text)}`);
    this.hex = hex;
  }

  /** Whether the other is the same UUID. */
  equals(other: Uuid): boolean {
    return this.hex === other.hex;
  }

  /** `12345678-1234-5678-1234-567812345678` */
  toString(): string {
    return this.hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  }

  /** As {@link toString}: plain text, as Kombu before 5.3 sent UUIDs. */
  toJSON(): string {
    return this.toString();
  }
}
