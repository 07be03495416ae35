import { mkdtempSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { append, Ledger, readLedger } from '../ledger/ledger.ts';
import { now, placeOf } from '../ledger/records.ts';

let folder: string;
let ledger: Ledger;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wakame-ledger-'));
  ledger = new Ledger(join(folder, 'ledger.jsonl'));
});

afterEach(() => {
  ledger.close();
  rmSync(folder, { recursive: true });
});

const events = (records: Iterable<{ readonly event: string }>) => [...records].map(({ event }) => event);

describe('the log', () => {
  it('gives back what was written, with its time, and each record once', () => {
    const before = now();
    ledger.write({ event: 'ready', by: 'a.1' }, { event: 'told', by: 'a.1' });
    const [first, second, ...others] = [...ledger.read()];
    expect(others).toEqual([]);
    expect(first).toMatchObject({ event: 'ready', by: 'a.1' });
    expect(first?.at).toBeGreaterThanOrEqual(before);
    expect(second?.at).toBeLessThanOrEqual(now());
    ledger.write({ event: 'fault-over', fault: 1, at: 42 });
    expect([...ledger.read()]).toEqual([{ event: 'fault-over', fault: 1, at: 42 }]);
    expect(events(readLedger(ledger.file))).toEqual(['ready', 'told', 'fault-over']);
  });

  it('is longer than one piece, and lines are not torn at its edges', () => {
    const count = 5000;
    for (let number = 1; number <= count; number++) ledger.write({ event: 'publish', by: 'p.1', queue: 'q€', number });
    const numbers = (records: Iterable<object>) => [...records].map((record) => (record as { number: number }).number);
    expect(numbers(ledger.read())).toEqual(Array.from({ length: count }, (_, i) => i + 1));
    expect(numbers(readLedger(ledger.file))).toHaveLength(count);
  });

  it('waits for the rest of a line that is being written', () => {
    const line = `${JSON.stringify({ at: 1, event: 'ready', by: 'a.1' })}\n`;
    writeSync(ledger.descriptor, line.slice(0, 10));
    expect(events(ledger.read())).toEqual([]);
    writeSync(ledger.descriptor, line.slice(10));
    expect(events(ledger.read())).toEqual(['ready']);
  });

  it('does without a record that its writer did not get to finish', () => {
    writeSync(ledger.descriptor, '{"at":1,"event":"publ');
    append(ledger.descriptor, { event: 'ready', by: 'a.1' });
    expect(events(ledger.read())).toEqual(['ready']);
    expect(events(readLedger(ledger.file))).toEqual(['ready']);
  });

  it('throws for what is no record', () => {
    writeSync(ledger.descriptor, 'nonsense\n');
    expect(() => [...ledger.read()]).toThrow('nonsense');
  });

  it('is never written over', () => {
    expect(() => new Ledger(ledger.file)).toThrow('EEXIST');
  });
});

it('a worker’s place is its name without the count of lives', () => {
  expect(placeOf('consumer-2.13')).toBe('consumer-2');
});
