/** Messages for people and for programs. */
import { compression, type Delivery, serialization } from 'wakame';
import { type Output, printable, toJson } from './output.js';
import { bytes } from './parse.js';
import { plainProperties } from './plain-properties.js';

export const FORMATS = ['pretty', 'json', 'body'] as const;
export type Format = (typeof FORMATS)[number];

/** Every format there is: what is only shown does no harm. */
const ACCEPT = ['json', 'text', 'raw', 'yaml', 'msgpack'];
/** Bytes that a compressed body may grow to before it is shown as it is. */
const MOST_DECOMPRESSED = 128 * 1024 * 1024;

/** How a message is shown: as text, or, when it is none, in base64. */
interface Body {
  /** JSON as it stands, in one line. */
  readonly json?: string | undefined;
  readonly text?: string | undefined;
  readonly bytes: Uint8Array;
  /** Why it is shown as it is. */
  readonly problem?: string | undefined;
}

/** Writes one message. Resolves when the reader has it. */
export async function show(out: Output, format: Format, delivery: Delivery, queue?: string): Promise<void> {
  const body = read(delivery);
  if (format === 'body') {
    await out.write(Buffer.concat([body.bytes, Buffer.from('\n')]));
    return;
  }
  await out.line(format === 'json' ? asJson(delivery, body, queue) : pretty(out, delivery, body, queue));
}

function asJson(delivery: Delivery, body: Body, queue: string | undefined): string {
  const { exchange, routingKey, redelivered } = delivery;
  const { headers = {} } = delivery.properties;
  const properties = plainProperties(delivery.properties);
  const content =
    body.json ?? toJson(body.text ?? Buffer.from(body.bytes.buffer, body.bytes.byteOffset, body.bytes.byteLength));
  const isBytes = body.json === undefined && body.text === undefined;
  const rest = {
    queue,
    exchange,
    routingKey,
    redelivered,
    headers,
    properties,
    size: body.bytes.length,
  };
  const told = { ...rest, ...(isBytes ? { bodyEncoding: 'base64' } : {}), problem: body.problem };
  // The body's own text: numbers keep all their digits.
  return `${toJson(told).slice(0, -1)},"body":${content}}`;
}

function pretty({ colors }: Output, delivery: Delivery, body: Body, queue: string | undefined): string {
  const { exchange, routingKey, redelivered } = delivery;
  const { headers = {} } = delivery.properties;
  const properties = plainProperties(delivery.properties);
  const from = exchange === '' ? '' : `  ${colors.dim('from')} ${printable(exchange)}`;
  const key = routingKey === queue ? '' : `  ${colors.dim('key')} ${printable(routingKey)}`;
  const head = `${colors.cyan('●')} ${colors.bold(printable(queue ?? exchange))}${from}${key}  ${colors.dim(bytes(body.bytes.length))}`;
  const shown = Object.entries({ ...properties, ...headers }).filter(([name, value]) => !isUsual(name, value));
  const lines = shown.map(([name, value]) => {
    const isHeader = Object.hasOwn(headers, name);
    const text = typeof value === 'string' ? value : toJson(value);
    return `  ${colors.dim(`${isHeader ? '' : '@'}${printable(name)}:`)} ${printable(text)}`;
  });
  if (body.problem !== undefined) lines.push(`  ${colors.yellow(printable(body.problem))}`);
  const content = body.json ?? body.text;
  const text = content === undefined ? Buffer.from(body.bytes).toString('base64') : printable(content, { lines: true });
  return [`${head}${redelivered ? colors.yellow('  redelivered') : ''}`, ...lines, text].join('\n');
}

/** What nearly every message has, and nobody wants to read. */
function isUsual(name: string, value: unknown): boolean {
  return (
    (name === 'priority' && value === 0) ||
    (name === 'deliveryMode' && value === 2) ||
    (name === 'contentEncoding' && (value === 'utf-8' || value === 'binary'))
  );
}

function read({ body, properties }: Delivery): Body {
  let plain = body;
  try {
    const codec = properties.headers?.compression;
    if (typeof codec === 'string' && body.length > 0) {
      plain = compression.decompress(body, codec, { maxBytes: MOST_DECOMPRESSED });
    }
    const { contentType, contentEncoding } = properties;
    const value = serialization.loads(plain, contentType, contentEncoding, ACCEPT);
    if (typeof value === 'string') return { text: value, bytes: plain };
    if (value instanceof Uint8Array) return { text: utf8(value), bytes: plain };
    return { json: jsonText(plain, contentType) ?? toJson(value), bytes: plain };
  } catch (error) {
    return { text: utf8(plain), bytes: plain, problem: error instanceof Error ? error.message : String(error) };
  }
}

/** The body as it stands, in one line: line breaks between its parts mean nothing. */
function jsonText(body: Uint8Array, contentType: string | undefined): string | undefined {
  if (contentType?.startsWith('application/json') !== true) return undefined;
  const text = utf8(body);
  if (text === undefined) return undefined;
  try {
    JSON.parse(text);
    return text.trim().replace(/[\r\n]+/g, ' ');
  } catch {
    // Python writes NaN.
    return undefined;
  }
}

/** Text, when that is what the bytes are. */
function utf8(body: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(body);
    return text.includes('\0') ? undefined : text;
  } catch {
    return undefined;
  }
}
