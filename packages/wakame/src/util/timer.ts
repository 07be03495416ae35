/** The longest delay that a Node timer takes, in milliseconds; a longer one would fire at once. */
export const LONGEST_TIMER = 2 ** 31 - 1;

/** Calls `fn` after `ms` milliseconds; never when that is more than 24 days. The function returned takes it back. */
export function after(ms: number, fn: () => void): () => void {
  if (ms > LONGEST_TIMER) return () => undefined;
  const timer = setTimeout(fn, ms);
  return () => clearTimeout(timer);
}
