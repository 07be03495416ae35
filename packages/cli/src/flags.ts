/** The options of commands, in one wording. */
import { count, duration, type Pair, pair, rate } from './parse.js';

/** What every command that connects has. */
export interface CommonFlags {
  readonly url?: string | undefined;
  readonly json: boolean;
  readonly wait?: number | undefined;
}

export const toggle = (brief: string) => ({ kind: 'boolean', brief, default: false, withNegated: false }) as const;

export const text = (placeholder: string, brief: string) =>
  ({ kind: 'parsed', parse: String, brief, placeholder, optional: true }) as const;

export const number = (brief: string, placeholder = 'n') =>
  ({ kind: 'parsed', parse: count, brief, placeholder, optional: true }) as const;

export const perSecond = (brief: string) =>
  ({ kind: 'parsed', parse: rate, brief, placeholder: 'n', optional: true }) as const;

export const time = (brief: string) =>
  ({ kind: 'parsed', parse: duration, brief, placeholder: 'time', optional: true }) as const;

export const pairs = (brief: string) =>
  ({
    kind: 'parsed',
    parse: pair as (text: string) => Pair,
    brief,
    placeholder: 'key=value',
    optional: true,
    variadic: true,
  }) as const;

export const texts = (placeholder: string, brief: string) =>
  ({ kind: 'parsed', parse: String, brief, placeholder, optional: true, variadic: true }) as const;

export const common = {
  url: text('url', "The broker, or $WAKAME_URL; else amqp://localhost. Several, joined by ';', are tried in turn"),
  json: toggle('Write JSON: results to standard output, the error to standard error'),
  wait: time('Go on trying to connect for so long, instead of once'),
} as const;

export const commonAliases = { u: 'url' } as const;

/** A positional argument. */
export const argument = (placeholder: string, brief: string) => ({ parse: String, placeholder, brief }) as const;

export const optionalArgument = (placeholder: string, brief: string) =>
  ({ parse: String, placeholder, brief, optional: true }) as const;
