/** Does nothing: for outcomes that are nobody's concern. */
export function noop(): void {
  // Nothing.
}
