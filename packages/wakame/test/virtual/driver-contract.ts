/** The Driver contract as tests: what every driver must do, whatever its store. */
import { describe } from 'vitest';
import { Bench, type DriverUnderTest } from './contract/bench.js';
import { consumerCases, hintCases, holderCases } from './contract/holders.js';
import { leaseCases } from './contract/leases.js';
import { messageCases, settlingCases, takeCases } from './contract/messages.js';
import { queueCases } from './contract/queues.js';
import { delayCases, maxLengthCases, messageTtlCases, priorityCases, queueTtlCases } from './contract/rules.js';
import { tableCases } from './contract/table.js';

export type { DriverUnderTest } from './contract/bench.js';
export { behindProxy } from './contract/fragile.js';

const cases = [
  queueCases,
  messageCases,
  settlingCases,
  takeCases,
  holderCases,
  consumerCases,
  hintCases,
  priorityCases,
  delayCases,
  messageTtlCases,
  queueTtlCases,
  maxLengthCases,
  leaseCases,
  tableCases,
];

/** Runs the contract over the drivers that `under` makes. */
export function driverContract(name: string, under: DriverUnderTest): void {
  const bench = new Bench(under);
  describe(`driver contract: ${name}`, () => {
    for (const define of cases) define(bench);
  });
}
