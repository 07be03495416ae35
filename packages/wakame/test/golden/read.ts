import { readFileSync } from 'node:fs';

/** What `make.py` wrote: the rows of a file. */
export function golden<Row>(file: string): Row[] {
  const path = new URL(file, import.meta.url);
  return (JSON.parse(readFileSync(path, 'utf8')) as { readonly rows: Row[] }).rows;
}

/** What `make.py` says of how it made a file. */
export function goldenFacts(file: string): Record<string, unknown> {
  const path = new URL(file, import.meta.url);
  return (JSON.parse(readFileSync(path, 'utf8')) as { readonly made: Record<string, unknown> }).made;
}
