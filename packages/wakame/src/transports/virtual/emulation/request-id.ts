let last = 0;

/** For the takes that emulations make themselves: they count downwards, away from those of the ledger. */
export function ownRequestId(): number {
  return --last;
}
