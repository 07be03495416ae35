/** Causes that were told already. Bounded, so that a peer that invents causes cannot fill memory. */
const told = new Set<string>();
const MAX_CAUSES = 1000;

/**
 * Tells of a problem that nobody listens to: one `process.emitWarning` per cause, never an exception.
 *
 * @param cause what makes two warnings the same
 */
export function warnOnce(cause: string, message: string): void {
  if (told.has(cause) || told.size >= MAX_CAUSES) return;
  told.add(cause);
  process.emitWarning(message, { type: 'WakameWarning' });
}
