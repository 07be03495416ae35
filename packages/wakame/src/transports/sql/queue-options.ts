import type { QueueOptions } from '../virtual/driver.js';
import { parseJson, writeJson } from '../virtual/wire/index.js';

/** As text for the table of queues. Arguments keep their types: dates, bytes, integers of any size. */
export function writeOptions(options: QueueOptions): string {
  return writeJson(options, { typed: true });
}

/** Texts read lately, parsed: every operation asks for the options of its queues. */
const known = new Map<string, QueueOptions>();
const MOST_KNOWN = 1000;

export function readOptions(text: string): QueueOptions {
  let options = known.get(text);
  if (options === undefined) {
    options = parseJson(text) as QueueOptions;
    if (known.size >= MOST_KNOWN) known.clear();
    known.set(text, options);
  }
  return options;
}
