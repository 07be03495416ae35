import { GROUP_SIZE, MAX_TABLES } from './format.js';

/** Huffman tables, and which of them each group of symbols uses. */
export interface Tables {
  readonly lengths: readonly Uint8Array[];
  readonly codes: readonly Uint32Array[];
  readonly selectors: Uint8Array;
}

/** Readers allow 20; the program writes no longer ones than this. */
const LONGEST = 17;
const ROUNDS = 4;

/**
 * Chooses tables for the symbols of a block: begins with tables that each suit one part of the alphabet, and a few times over
 * gives each group the table that suits it best, and each table the frequencies of its groups.
 */
export function chooseTables(symbols: Uint16Array, symbolCount: number): Tables {
  const tableCount =
    symbols.length < 200
      ? 2
      : symbols.length < 600
        ? 3
        : symbols.length < 1200
          ? 4
          : symbols.length < 2400
            ? 5
            : MAX_TABLES;
  const groups = Array.from({ length: Math.ceil(symbols.length / GROUP_SIZE) }, (_, i) => {
    return symbols.subarray(i * GROUP_SIZE, (i + 1) * GROUP_SIZE);
  });
  const selectors = new Uint8Array(groups.length);
  let lengths = firstTables(symbols, symbolCount, tableCount);
  for (let round = 0; round < ROUNDS; round++) {
    const frequencies = lengths.map(() => new Uint32Array(symbolCount));
    for (const [i, group] of groups.entries()) {
      const best = cheapest(lengths, group);
      selectors[i] = best;
      for (const symbol of group) frequencies[best]![symbol]!++;
    }
    lengths = frequencies.map(codeLengths);
  }
  return { lengths, codes: lengths.map(canonicalCodes), selectors };
}

/** Tables by parts of the alphabet that occur about equally often. */
function firstTables(symbols: Uint16Array, symbolCount: number, tableCount: number): Uint8Array[] {
  const frequency = new Uint32Array(symbolCount);
  for (const symbol of symbols) frequency[symbol]!++;
  const tables: Uint8Array[] = [];
  let start = 0;
  let left = symbols.length;
  for (let table = 0; table < tableCount; table++) {
    const share = left / (tableCount - table);
    let end = start;
    let sum = 0;
    while (end < symbolCount && (sum < share || end === start)) sum += frequency[end++]!;
    if (table === tableCount - 1) end = symbolCount;
    tables.push(Uint8Array.from({ length: symbolCount }, (_, symbol) => (symbol >= start && symbol < end ? 1 : 15)));
    start = end;
    left -= sum;
  }
  return tables;
}

function cheapest(lengths: readonly Uint8Array[], group: Uint16Array): number {
  let best = 0;
  let bestCost = Number.POSITIVE_INFINITY;
  for (const [table, tableLengths] of lengths.entries()) {
    let cost = 0;
    for (const symbol of group) cost += tableLengths[symbol]!;
    if (cost < bestCost) {
      best = table;
      bestCost = cost;
    }
  }
  return best;
}

/** Lengths of a Huffman code. When one comes out too long, the frequencies are made more alike and all begins again. */
function codeLengths(frequencies: Uint32Array): Uint8Array {
  let weights = Array.from(frequencies, (frequency) => Math.max(1, frequency));
  for (;;) {
    const lengths = huffman(weights);
    if (lengths.every((length) => length <= LONGEST)) return lengths;
    weights = weights.map((weight) => 1 + (weight >> 1));
  }
}

/** The lightest two become one, until one is left: a node's parent has a higher number than it, so lengths follow from the top. */
function huffman(weights: readonly number[]): Uint8Array {
  const leaves = Array.from(weights.keys()).sort((a, b) => weights[a]! - weights[b]!);
  const weight = [...weights];
  const parent: number[] = [];
  let leaf = 0;
  let inner = weights.length;
  const lightest = (): number => {
    const takeLeaf = leaf < leaves.length && (inner >= weight.length || weight[leaves[leaf]!]! <= weight[inner]!);
    return takeLeaf ? leaves[leaf++]! : inner++;
  };
  while (weight.length < 2 * weights.length - 1) {
    const [a, b] = [lightest(), lightest()];
    parent[a] = weight.length;
    parent[b] = weight.length;
    weight.push(weight[a]! + weight[b]!);
  }
  const depth = new Array<number>(weight.length).fill(0);
  for (let node = weight.length - 2; node >= 0; node--) depth[node] = depth[parent[node]!]! + 1;
  return Uint8Array.from(depth.slice(0, weights.length));
}

/** Codes in order of length, then of symbol. */
function canonicalCodes(lengths: Uint8Array): Uint32Array {
  const codes = new Uint32Array(lengths.length);
  let code = 0;
  for (let length = 1; length <= LONGEST; length++, code <<= 1) {
    for (const [symbol, symbolLength] of lengths.entries()) if (symbolLength === length) codes[symbol] = code++;
  }
  return codes;
}
