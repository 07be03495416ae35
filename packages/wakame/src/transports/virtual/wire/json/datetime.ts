import { InvalidArgumentError } from '../../../../errors.js';
import { show } from '../../../../util/check.js';
import {
  type ClockTime,
  type Day,
  epochMilliseconds,
  formatClockTime,
  formatDay,
  parseClockTime,
  parseDay,
} from './calendar.js';

/**
 * A `datetime` from Python. It is a `Date`, and keeps what a `Date` has no place for: microseconds, the offset it was
 * written with, and whether it was naive. A naive one is taken as UTC, since the zone it was meant in is not in
 * the message.
 *
 * Setting it (`setHours` …) makes it an ordinary date: the parts then follow the new time, in UTC and to the millisecond.
 */
export class PyDateTime extends Date {
  readonly #text: string;
  readonly #day: Day;
  readonly #time: ClockTime;
  readonly #written: number;

  /** @param text An ISO 8601 date and time, as Python's `isoformat()`. Throws INVALID_ARGUMENT. */
  constructor(text: string) {
    const day = parseDay(text.slice(0, 10));
    const time = /^[T ]$/.test(text[10] ?? '') ? parseClockTime(text.slice(11)) : undefined;
    if (day === undefined || time === undefined) throw new InvalidArgumentError(`not a date and time: ${show(text)}`);
    super(epochMilliseconds(day, time));
    this.#text = text;
    this.#day = day;
    this.#time = time;
    this.#written = this.getTime();
  }

  /** As it was written, or {@link isoformat} once it was set to another time. */
  get text(): string {
    return this.#isAsWritten ? this.#text : this.isoformat();
  }

  /** 0 to 999 999: the fraction of the second, which `getMilliseconds()` has in part. */
  get microsecond(): number {
    return this.#isAsWritten ? this.#time.microsecond : this.getUTCMilliseconds() * 1000;
  }

  /** Whether it was written without an offset. */
  get naive(): boolean {
    return this.#isAsWritten && this.#time.offset === undefined;
  }

  /** Seconds east of UTC that it was written with; `undefined` when naive. */
  get offset(): number | undefined {
    if (!this.#isAsWritten) return 0;
    return this.#time.offset === undefined ? undefined : this.#time.offset / 1e6;
  }

  /** As Python writes it and every Python reads it: six decimals or none, `+00:00` rather than `Z`. */
  isoformat(): string {
    if (!this.#isAsWritten) return dateText(this);
    return `${formatDay(this.#day)}T${formatClockTime(this.#time)}`;
  }

  /** {@link isoformat}, so that JSON keeps the microseconds and the naivety. */
  override toJSON(): string {
    return this.isoformat();
  }

  get #isAsWritten(): boolean {
    return this.getTime() === this.#written;
  }
}

/** A `Date` as Python before 3.11 reads it: `+00:00` for the `Z` of `toISOString`, which throws for an invalid one. */
export function dateText(date: Date): string {
  return date.toISOString().replace('Z', '+00:00');
}

/** A `date` from Python: a day without a time, which no `Date` can be. */
export class PyDate implements Day {
  readonly year: number;
  /** 1 to 12. */
  readonly month: number;
  readonly day: number;

  /** @param text `2024-01-02`. Throws INVALID_ARGUMENT. */
  constructor(text: string) {
    const day = parseDay(text);
    if (day === undefined) throw new InvalidArgumentError(`not a date: ${show(text)}`);
    this.year = day.year;
    this.month = day.month;
    this.day = day.day;
  }

  /** `2024-01-02` */
  toString(): string {
    return formatDay(this);
  }

  /** ISO text. */
  toJSON(): string {
    return this.toString();
  }
}

/** A `time` from Python: a time of day without a date. */
export class PyTime {
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
  /** 0 to 999 999. */
  readonly microsecond: number;
  /** Seconds east of UTC; `undefined` when naive. */
  readonly offset: number | undefined;

  /** @param text `01:02:03.000004`, perhaps with an offset. Throws INVALID_ARGUMENT. */
  constructor(text: string) {
    const time = parseClockTime(text);
    if (time === undefined) throw new InvalidArgumentError(`not a time of day: ${show(text)}`);
    this.hour = time.hour;
    this.minute = time.minute;
    this.second = time.second;
    this.microsecond = time.microsecond;
    this.offset = time.offset === undefined ? undefined : time.offset / 1e6;
  }

  /** As Python's `isoformat()`. */
  toString(): string {
    const offset = this.offset === undefined ? undefined : Math.round(this.offset * 1e6);
    return formatClockTime({ ...this, offset });
  }

  /** ISO text. */
  toJSON(): string {
    return this.toString();
  }
}
