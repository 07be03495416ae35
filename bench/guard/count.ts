/**
 * Counts what one workload allocates: `count.ts <workload>`, with the flags that `main.ts` gives. The young generation is so large that
 * nothing is collected meanwhile: what the heap has grown by is what was allocated. Nothing is compiled either, so the optimizer's
 * timing does not matter.
 */
import { workloads } from './workloads.ts';

const WARM_UP = 2048;
const COUNTED = 8192;

const make = workloads[process.argv[2] ?? ''];
if (make === undefined) throw new Error(`no workload ${process.argv[2]}`);
const workload = await make();
await workload(WARM_UP);

const collect = (globalThis as { gc?: () => void }).gc;
if (collect === undefined) throw new Error('needs --expose-gc');
collect();
const before = process.memoryUsage();
await workload(COUNTED);
const after = process.memoryUsage();
const heap = (after.heapUsed - before.heapUsed) / COUNTED;
const buffers = (after.external - before.external) / COUNTED;
process.stdout.write(`${JSON.stringify({ heap, buffers })}\n`, () => process.exit());
