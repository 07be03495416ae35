/** A block by the last column of its sorted rotations. */
export interface Transformed {
  readonly last: Uint8Array;
  /** Which of the rotations is the block itself. */
  readonly origin: number;
}

/**
 * The Burrows-Wheeler transform. The rotations are sorted by their first 1, 2, 4, 8 … bytes: those that are in order by the first
 * half are put in order by the second half with one counting sort, until all differ. So no input takes longer than
 * length × log(length), runs and repetitions neither.
 */
export function burrowsWheeler(block: Uint8Array): Transformed {
  const length = block.length;
  let order = new Uint32Array(length);
  let rank = new Uint32Array(length);
  let nextOrder = new Uint32Array(length);
  let nextRank = new Uint32Array(length);
  const counts = new Uint32Array(Math.max(256, length) + 1);

  for (const byte of block) counts[byte + 1]!++;
  for (let byte = 0; byte < 256; byte++) counts[byte + 1]! += counts[byte]!;
  for (let i = 0; i < length; i++) order[counts[block[i]!]!++] = i;
  let classes = rankBy(order, rank, (a, b) => block[a] === block[b]);

  for (let half = 1; half < length && classes < length; half *= 2) {
    counts.fill(0, 0, classes + 1);
    for (let i = 0; i < length; i++) counts[rank[i]! + 1]!++;
    for (let i = 0; i < classes; i++) counts[i + 1]! += counts[i]!;
    // In order of their second halves, each goes to the next place among those of its first half.
    for (let i = 0; i < length; i++) {
      const start = order[i]! >= half ? order[i]! - half : order[i]! - half + length;
      nextOrder[counts[rank[start]!]!++] = start;
    }
    const old = rank;
    const step = half;
    const second = (start: number) => old[start + step < length ? start + step : start + step - length];
    classes = rankBy(nextOrder, nextRank, (a, b) => old[a] === old[b] && second(a) === second(b));
    [order, nextOrder] = [nextOrder, order];
    [rank, nextRank] = [nextRank, rank];
  }

  const last = new Uint8Array(length);
  for (let i = 0; i < length; i++) last[i] = block[order[i] === 0 ? length - 1 : order[i]! - 1]!;
  return { last, origin: order.indexOf(0) };
}

/** Numbers what is in order, equal ones alike. Returns how many numbers that took. */
function rankBy(order: Uint32Array, rank: Uint32Array, same: (a: number, b: number) => boolean): number {
  let current = 0;
  for (let i = 0; i < order.length; i++) {
    if (i > 0 && !same(order[i - 1]!, order[i]!)) current++;
    rank[order[i]!] = current;
  }
  return order.length === 0 ? 0 : current + 1;
}
