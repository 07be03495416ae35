/** The faults of the network, which every stand has. */
import type { Link } from '../crew/place.ts';
import { corrupt } from '../faults/corrupt.ts';
import { cut } from '../faults/cut.ts';
import { cutAfter } from '../faults/cut-after.ts';
import { delay } from '../faults/delay.ts';
import type { FaultKind } from '../faults/fault.ts';
import { halfOpen } from '../faults/half-open.ts';
import { refuse } from '../faults/refuse.ts';
import { reset } from '../faults/reset.ts';
import { stall } from '../faults/stall.ts';
import { throttle } from '../faults/throttle.ts';

const always = [cut, reset, cutAfter, halfOpen, stall, delay, throttle, refuse];

/** Damage on the way only where there are links that notice it. */
export function networkFaults(links: readonly Link[]): FaultKind[] {
  const kinds = links.some(({ tls }) => tls) ? [...always, corrupt] : always;
  return kinds.map((kind) => kind(links));
}
