/** The demo's records: one order a line, `number,customer,country,items,unit price,check`. */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';

/** What travels: the line as it stands in the file, and its place there. */
export interface OrderMessage {
  readonly line: number;
  readonly text: string;
}

export interface Invoice {
  readonly order: number;
  readonly country: string;
  readonly total: number;
}

/** VAT in per cent. */
const VAT: Readonly<Record<string, number>> = {
  AT: 20,
  DE: 19,
  DK: 25,
  ES: 21,
  FR: 20,
  IE: 23,
  IT: 22,
  JP: 10,
  NL: 21,
  PT: 23,
};

/** Reads the file line by line, never the whole of it. The first line is the heading. */
export async function* readOrders(file: string | URL): AsyncGenerator<OrderMessage> {
  let line = 0;
  for await (const text of createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY })) {
    line += 1;
    if (line > 1 && text !== '') yield { line, text };
  }
}

/** The digits of a line weighted by their place, modulo 97: tells a record that was damaged. */
export function checkDigits(fields: readonly string[]): string {
  let sum = 0;
  for (const character of fields.join(',')) sum = (sum * 31 + character.charCodeAt(0)) % 97;
  return String(sum).padStart(2, '0');
}

/** The work: check the record, and compute what the customer pays. Throws for a damaged record. */
export function invoice({ line, text }: OrderMessage): Invoice {
  const fields = text.split(',');
  const check = fields.pop();
  if (fields.length !== 5 || check !== checkDigits(fields)) throw new Error(`line ${line} is damaged: ${text}`);
  const [number = '', , country = '', items = '', price = ''] = fields;
  const vat = VAT[country];
  if (vat === undefined) throw new Error(`line ${line} has an unknown country: ${country}`);
  const net = Number(items) * Math.round(Number(price) * 100);
  return { order: Number(number), country, total: Math.round(net * (1 + vat / 100)) / 100 };
}
