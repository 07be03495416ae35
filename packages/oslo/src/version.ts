import { InvalidArgumentError } from 'wakame';
import { show } from 'wakame/util';

/** Major, minor, revision. */
type Parts = readonly [number, number, number];

const PATTERN = /^(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?$/;

/** Throws INVALID_ARGUMENT for what is no version: `1.0`, `2.3`, `1.0.5`. */
export function checkVersion(name: string, version: unknown): string {
  if (typeof version === 'string' && PATTERN.test(version)) return version;
  throw new InvalidArgumentError(`${name} must be a version such as '1.0', not ${show(version)}`);
}

/** Whether an implementation of one version serves a request for another: the same major version, and not an older one. */
export function isCompatible(implemented: string, requested: string): boolean {
  const has = partsOf(implemented);
  const wants = partsOf(requested);
  if (has === undefined || wants === undefined || has[0] !== wants[0]) return false;
  return has[1] > wants[1] || (has[1] === wants[1] && has[2] >= wants[2]);
}

function partsOf(version: string): Parts | undefined {
  const found = PATTERN.exec(version);
  return found === null ? undefined : [Number(found[1]), Number(found[2]), Number(found[3] ?? 0)];
}
