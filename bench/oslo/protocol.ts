/** What the participants of the RPC benchmark have in common. The Python one, `measure.py`, does the same. */
import type { Budget, Sample } from '../lib/sample.ts';

/** Calls one method of a server in another process, which answers with what it is given. */
export interface RpcParticipant {
  /** Runs the server until the process is ended. Resolves when it listens to calls. */
  serve(url: string, topic: string): Promise<void>;
  client(url: string, topic: string): Promise<{ echo(value: string): Promise<unknown> }>;
}

export type Measure = (budget: Budget) => Promise<Sample>;

/** The argument of each call, and its result. */
export const ARGUMENT = 'x'.repeat(100);
