/** Names longer than this are compared by their beginnings: nobody mistypes more, and the work stays bounded. */
const LONGEST = 64;

/**
 * The known name most like `name`, or `undefined` when none is at least 60 % alike (the threshold of Kombu's "did you
 * mean"). Likeness is one less the edits needed in proportion to the longer name; case counts little: names that
 * differ in it alone are as good as the same.
 */
export function nearestName(name: string, known: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestLikeness = 0.6;
  for (const candidate of known) {
    const likeness = likenessOf(name, candidate);
    if (likeness > bestLikeness || (best === undefined && likeness === bestLikeness)) {
      best = candidate;
      bestLikeness = likeness;
    }
  }
  return best;
}

/** The end of an error message: ` (did you mean 'heartbeat'?)`, or nothing when no known name is near. */
export function didYouMean(name: string, known: Iterable<string>): string {
  const nearest = nearestName(name, known);
  return nearest === undefined ? '' : ` (did you mean '${nearest}'?)`;
}

function likenessOf(a: string, b: string): number {
  const left = a.slice(0, LONGEST).toLowerCase();
  const right = b.slice(0, LONGEST).toLowerCase();
  const longer = Math.max(left.length, right.length);
  return longer === 0 ? 1 : 1 - editDistance(left, right) / longer;
}

/** Optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (same ? 0 : 1));
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) cost = Math.min(cost, (beforeLast[j - 2] ?? 0) + 1);
      row.push(cost);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length] ?? 0;
}
