import { InvalidArgumentError } from '../../../../errors.js';
import { show } from '../../../../util/check.js';

const FINITE = /^([+-]?)(?=\.?\d)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,18}))?$/;
const SPECIAL = /^[+-]?(?:inf(?:inity)?|s?nan\d*)$/i;

/**
 * A decimal number from Python (`decimal.Decimal`), kept digit for digit: `1.10` stays `1.10`. It is a value to read,
 * compare and pass on, not one to calculate with: use a library of your choice on {@link toString}.
 */
export class Decimal {
  readonly #text: string;

  /** @param text A number as Python's `Decimal` takes it: `1.10`, `-1E+3`, `NaN`, `Infinity`. Throws INVALID_ARGUMENT. */
  constructor(text: string) {
    if (!FINITE.test(text) && !SPECIAL.test(text))
      throw new InvalidArgumentError(`not a decimal number: ${show(text)}`);
    this.#text = text;
  }

  /** Whether it is neither infinite nor NaN. */
  get isFinite(): boolean {
    return FINITE.test(this.#text);
  }

  /** Whether both are the same number: `1.10` equals `1.1`. NaN equals nothing. */
  equals(other: Decimal): boolean {
    const mine = this.#canonical();
    return mine !== undefined && mine === other.#canonical();
  }

  /** As it was written. */
  toString(): string {
    return this.#text;
  }

  /** As it was written: plain text, as Kombu before 5.3 sent decimals. */
  toJSON(): string {
    return this.#text;
  }

  /** The nearest number of JavaScript, which often is not the same: for comparing with `<`, not for money. */
  valueOf(): number {
    if (this.isFinite) return Number(this.#text);
    if (/nan/i.test(this.#text)) return Number.NaN;
    return this.#text.startsWith('-') ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  }

  /** Sign, digits without zeros at either end, and exponent; `undefined` for NaN. */
  #canonical(): string | undefined {
    const match = FINITE.exec(this.#text);
    if (match === null) return /nan/i.test(this.#text) ? undefined : String(this.valueOf());
    const [, sign = '', whole = '', fraction = '', exponent = '0'] = match;
    const digits = (whole + fraction).replace(/^0+/, '');
    const significant = digits.replace(/0+$/, '');
    if (significant === '') return '0';
    const power = BigInt(exponent) - BigInt(fraction.length) + BigInt(digits.length - significant.length);
    return `${sign === '-' ? '-' : ''}${significant}e${power}`;
  }
}
