import { isAscii } from 'node:buffer';
import { asBuffer, decodeUtf8 } from '../util/utf8.js';

/** The content encodings of bodies that are no text (`kombu.serialization.SKIP_DECODE`). */
export function isBinary(contentEncoding: string): boolean {
  return contentEncoding === 'binary' || contentEncoding === 'ascii-8bit';
}

/** Python's names of encodings that the WHATWG knows under others, without `-`, `_` and spaces. */
const PYTHON_NAMES: Readonly<Record<string, string>> = {
  utf16be: 'utf-16be',
  utf16le: 'utf-16le',
  cp932: 'shift_jis',
  cp949: 'euc-kr',
  cp936: 'gbk',
  cp950: 'big5',
  eucjp: 'euc-jp',
  euckr: 'euc-kr',
  gb2312: 'gbk',
  koi8r: 'koi8-r',
  koi8u: 'koi8-u',
  macroman: 'macintosh',
  shiftjis: 'shift_jis',
  sjis: 'shift_jis',
};

/** Whether {@link decodeText} knows a charset. */
export function isKnownCharset(charset: string): boolean {
  return decoderFor(charset) !== undefined;
}

/**
 * Bytes as text. `undefined` when the charset is not known, or the bytes are not of it: a body is never decoded with
 * replacement characters.
 *
 * @param charset A content encoding: Python's name of a codec, or the WHATWG's, in any case.
 */
export function decodeText(bytes: Uint8Array, charset: string): string | undefined {
  return decoderFor(charset)?.(bytes);
}

type Decode = (bytes: Uint8Array) => string | undefined;

function decoderFor(charset: string): Decode | undefined {
  // Nearly all: not worth a search.
  if (charset === 'utf-8') return decodeUtf8;
  const name = charset.toLowerCase().replace(/[-_ ]/g, '');
  switch (name) {
    case 'utf8':
      return decodeUtf8;
    case 'utf8sig':
      return (bytes) => decodeUtf8(bytes)?.replace(/^\ufeff/, '');
    case 'ascii':
    case 'usascii':
      return (bytes) => (isAscii(bytes) ? asBuffer(bytes).toString('latin1') : undefined);
    // The WHATWG takes these names for windows-1252, which has other characters from 80 to 9f.
    case 'latin1':
    case 'iso88591':
    case 'l1':
      return (bytes) => asBuffer(bytes).toString('latin1');
    // Several releases of Node take it for latin-1.
    case 'cp1252':
    case 'windows1252':
      return decodeCp1252;
    case 'utf16':
      return (bytes) => whatwg(bytes[0] === 0xfe && bytes[1] === 0xff ? 'utf-16be' : 'utf-16le')?.(bytes);
    default:
      return (
        whatwg(PYTHON_NAMES[name] ?? name.replace(/^cp(125\d|866)$/, 'windows-$1').replace('windows-866', 'ibm866')) ??
        whatwg(charset.replaceAll('_', '-'))
      );
  }
}

/** From 80 to 9f, where cp1252 differs from latin-1 and has five gaps. */
const CP1252 = '€ ‚ƒ„…†‡ˆ‰Š‹Œ Ž  ‘’“”•–—˜™š›œ žŸ';

function decodeCp1252(bytes: Uint8Array): string | undefined {
  const text = asBuffer(bytes).toString('latin1');
  if (/[\x81\x8d\x8f\x90\x9d]/.test(text)) return undefined;
  return text.replace(/[\x80-\x9f]/g, (char) => CP1252[char.charCodeAt(0) - 0x80] ?? char);
}

function whatwg(label: string): Decode | undefined {
  const decoder = newDecoder(label);
  if (decoder === undefined) return undefined;
  return (bytes) => {
    try {
      return decoder.decode(bytes);
    } catch {
      return undefined; // The bytes are not of that charset.
    }
  };
}

function newDecoder(label: string): InstanceType<typeof TextDecoder> | undefined {
  try {
    return new TextDecoder(label, { fatal: true });
  } catch {
    return undefined; // The runtime has no such charset.
  }
}
