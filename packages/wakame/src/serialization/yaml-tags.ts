import type * as Yaml from 'yaml';
import { PyDate, PyDateTime } from '../transports/virtual/wire/json/datetime.js';

/**
 * The scalars of YAML 1.1 exactly as PyYAML tells them from text (`yaml/resolver.py`, `yaml/constructor.py`): it writes without
 * quotes what it would read as text again, `y` or `1e3` for example, which YAML 1.1 by the letter takes for something else.
 */
export function pythonTags(yaml: typeof Yaml): Yaml.Tags {
  const scalar = (name: string, test: RegExp, resolve: (text: string) => unknown): Yaml.ScalarTag => ({
    tag: `tag:yaml.org,2002:${name}`,
    default: true,
    test,
    resolve: (text, onError) => {
      try {
        return resolve(text);
      } catch (error) {
        onError(`not a ${name}: ${error instanceof Error ? error.message : error}`);
        return text;
      }
    },
  });
  return [
    ...(['binary', 'omap', 'pairs', 'set'] as const),
    nullTag(
      yaml,
      scalar('null', NULL, () => null),
    ),
    scalar('bool', BOOL, (text) => /^(?:yes|true|on)$/i.test(text)),
    scalar('int', INT, parseInteger),
    scalar('float', FLOAT, parseReal),
    scalar('timestamp', TIMESTAMP, parseTimestamp),
  ];
}

const NULL = /^(?:~|null|Null|NULL|)$/;
const BOOL = /^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$/;
const INT =
  /^(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$/;
const FLOAT =
  /^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$/;
const TIMESTAMP =
  /^(?:\d{4}-\d\d-\d\d|(\d{4})-(\d\d?)-(\d\d?)(?:[Tt]|[ \t]+)(\d\d?):(\d\d):(\d\d)(?:\.(\d*))?(?:[ \t]*(Z|([-+])(\d\d?)(?::?(\d\d))?))?)$/;

/** An empty value is null, and the library makes it without asking. */
function nullTag(yaml: typeof Yaml, tag: Yaml.ScalarTag): Yaml.ScalarTag {
  return { ...tag, createNode: () => new yaml.Scalar(null) };
}

function parseInteger(text: string): number | bigint {
  const digits = text.replaceAll('_', '').replace(/^[-+]/, '');
  if (digits.length > 4300) throw new Error('more than 4300 digits');
  const size = digits.includes(':') ? BigInt(sexagesimal(digits)) : BigInt(digits.replace(/^0(?=[0-7])/, '0o'));
  const value = text.startsWith('-') ? -size : size;
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

function parseReal(text: string): number {
  const digits = text.replaceAll('_', '').replace(/^[-+]/, '').toLowerCase();
  const sign = text.startsWith('-') ? -1 : 1;
  if (digits === '.inf') return sign * Number.POSITIVE_INFINITY;
  if (digits === '.nan') return Number.NaN;
  return sign * (digits.includes(':') ? sexagesimal(digits) : Number(digits));
}

/** `1:30` is 90. */
function sexagesimal(digits: string): number {
  return digits.split(':').reduce((value, part) => value * 60 + Number(part), 0);
}

/** What PyYAML writes is `isoformat` with a space; YAML allows more ways. */
function parseTimestamp(text: string): PyDate | PyDateTime {
  const match = TIMESTAMP.exec(text);
  const [, year, month, day, hour, minute, second, fraction = '', zone, sign, zoneHour = '', zoneMinute = '00'] =
    match ?? [];
  if (year === undefined) return new PyDate(text);
  const pad = (part: string | undefined) => (part ?? '').padStart(2, '0');
  const decimals = fraction === '' ? '' : `.${fraction.slice(0, 9)}`;
  const offset = sign === undefined ? (zone ?? '') : `${sign}${pad(zoneHour)}:${zoneMinute}`;
  return new PyDateTime(`${year}-${pad(month)}-${pad(day)}T${pad(hour)}:${minute}:${second}${decimals}${offset}`);
}
