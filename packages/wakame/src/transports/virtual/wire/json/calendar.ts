/**
 * Python's `isoformat` of dates and times, read and written. What comes from Python is `YYYY-MM-DD`, `HH:MM:SS[.ffffff]`,
 * and both joined by `T`, with `±HH:MM[:SS[.ffffff]]` when aware of its zone. Other producers also write a space for the
 * `T`, `Z`, `±HHMM`, minutes without seconds and other counts of decimals; those are read too.
 */

/** A day of the proleptic Gregorian calendar, years 1 to 9999, as Python's. */
export interface Day {
  readonly year: number;
  readonly month: number;
  readonly day: number;
}

/** A time of day, perhaps with its distance from UTC. */
export interface ClockTime {
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
  /** 0 to 999 999. */
  readonly microsecond: number;
  /** Microseconds east of UTC; `undefined`: naive, the zone is not known. */
  readonly offset: number | undefined;
}

const DAY = /^(\d{4})-(\d\d)-(\d\d)$/;
const TIME = /^(\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(Z|[+-]\d\d:?\d\d(?::?\d\d(?:\.\d{1,6})?)?)?$/;
const OFFSET = /^([+-])(\d\d):?(\d\d)(?::?(\d\d)(?:\.(\d{1,6}))?)?$/;

/** Reads `2024-01-02`; `undefined` when it is no day. */
export function parseDay(text: string): Day | undefined {
  const match = DAY.exec(text);
  if (match === null) return undefined;
  const [year, month, day] = [Number(match[1]), Number(match[2]), Number(match[3])];
  const inRange = year >= 1 && month >= 1 && month <= 12 && day >= 1 && day <= daysIn(year, month);
  return inRange ? { year, month, day } : undefined;
}

/** Reads `01:02:03.000004+00:00`; `undefined` when it is no time of day. */
export function parseClockTime(text: string): ClockTime | undefined {
  const match = TIME.exec(text);
  if (match === null) return undefined;
  const [hour, minute, second] = [Number(match[1]), Number(match[2]), Number(match[3] ?? 0)];
  if (hour > 23 || minute > 59 || second > 59) return undefined;
  const offset = match[5] === undefined ? undefined : parseOffset(match[5]);
  if (Number.isNaN(offset)) return undefined;
  return { hour, minute, second, microsecond: microseconds(match[4]), offset };
}

/** Microseconds east of UTC; NaN when out of range. */
function parseOffset(text: string): number {
  if (text === 'Z') return 0;
  const match = OFFSET.exec(text);
  if (match === null) return Number.NaN;
  const [hours, minutes, seconds] = [Number(match[2]), Number(match[3]), Number(match[4] ?? 0)];
  if (hours > 23 || minutes > 59 || seconds > 59) return Number.NaN;
  const size = ((hours * 60 + minutes) * 60 + seconds) * 1e6 + microseconds(match[5]);
  return match[1] === '-' ? 0 - size : size;
}

/** The first six decimals of a fraction of a second. */
function microseconds(decimals: string | undefined): number {
  return decimals === undefined ? 0 : Number(decimals.slice(0, 6).padEnd(6, '0'));
}

function daysIn(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

const pad = (value: number, width: number) => String(value).padStart(width, '0');

/** `2024-01-02` */
export function formatDay({ year, month, day }: Day): string {
  return `${pad(year, 4)}-${pad(month, 2)}-${pad(day, 2)}`;
}

/** `01:02:03`, six decimals when there are microseconds, `+00:00` when the offset is known: what every Python parses. */
export function formatClockTime({ hour, minute, second, microsecond, offset }: ClockTime): string {
  const fraction = microsecond === 0 ? '' : `.${pad(microsecond, 6)}`;
  return `${pad(hour, 2)}:${pad(minute, 2)}:${pad(second, 2)}${fraction}${offset === undefined ? '' : formatOffset(offset)}`;
}

function formatOffset(offset: number): string {
  const size = Math.abs(offset);
  const fraction = size % 1e6;
  const seconds = Math.floor(size / 1e6);
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  if (seconds % 60 !== 0 || fraction !== 0) parts.push(seconds % 60);
  const text = parts.map((part) => pad(part, 2)).join(':');
  return `${offset < 0 ? '-' : '+'}${text}${fraction === 0 ? '' : `.${pad(fraction, 6)}`}`;
}

/** Milliseconds since the epoch of a day and time in UTC. `Date.UTC` would take the years 0 to 99 for 1900 to 1999. */
export function epochMilliseconds(day: Day, time: ClockTime): number {
  const date = new Date(0);
  date.setUTCFullYear(day.year, day.month - 1, day.day);
  date.setUTCHours(time.hour, time.minute, time.second);
  return date.getTime() + Math.floor((time.microsecond - (time.offset ?? 0)) / 1000);
}
