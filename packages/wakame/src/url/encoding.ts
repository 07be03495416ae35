import { InvalidUrlError } from '../errors.js';

/**
 * Percent-decodes as Python does: `%` that begins no code stands for itself. Throws INVALID_URL for codes that are not UTF-8.
 *
 * @param shown The URL for the error message, without its password.
 */
export function percentDecode(text: string, shown: string): string {
  return text.replace(/(?:%[0-9a-fA-F]{2})+/g, (codes) => {
    try {
      return decodeURIComponent(codes);
    } catch (cause) {
      throw new InvalidUrlError(`percent-encoded bytes that are not UTF-8 in ${shown}`, { cause });
    }
  });
}

/** Percent-encodes everything that has a meaning in some part of a URL. Throws INVALID_URL for half a surrogate pair. */
export function percentEncode(text: string): string {
  if (!text.isWellFormed()) throw new InvalidUrlError('a part of the URL holds half a surrogate pair');
  return encodeURIComponent(text);
}
