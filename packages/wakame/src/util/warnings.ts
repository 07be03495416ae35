/** Causes warned of already. Bounded, since a cause may hold a name that varies without end. */
const warned = new Set<string>();
const MOST_CAUSES = 1000;

/**
 * `process.emitWarning`, once in the life of the process for each `cause`.
 *
 * @param cause Identifies what is warned of; not shown.
 * @param message What the reader can do something about.
 * @returns Whether the warning was given now.
 */
export function warnOnce(cause: string, message: string): boolean {
  if (warned.has(cause) || warned.size >= MOST_CAUSES) return false;
  warned.add(cause);
  process.emitWarning(message, { type: 'WakameWarning' });
  return true;
}

/** Forgets what was warned of, so that tests do not depend on their order. */
export function resetWarnings(): void {
  warned.clear();
}
