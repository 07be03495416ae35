/** A place for a worker: which program does what there, and by which way it reaches the broker. */
import type { FaultProxy } from '../../scripts/lib/network/fault-proxy.ts';
import type { ConsumerTask, ProducerTask } from '../workers/task.ts';

/** A way from a worker to a server, on which things can go wrong. */
export interface Link {
  /** The worker's place. */
  readonly place: string;
  /** Which of several servers it leads to. */
  readonly server: number;
  readonly proxy: FaultProxy;
  /** Damage on the way is noticed: the bytes are authenticated. */
  readonly tls: boolean;
}

interface AnyPlace {
  readonly name: string;
  /** Command and arguments; the task follows as the last one. */
  readonly command: readonly [string, ...string[]];
  readonly language: string;
  /**
   * Its workers cannot be held to the account through a fault: they are let go before any that hits them, begin again after it, and are never
   * killed.
   */
  readonly fragile?: boolean | undefined;
}

export type Place =
  | (AnyPlace & { readonly role: 'producer'; readonly task: Omit<ProducerTask, 'by' | 'seed' | 'owed'> })
  | (AnyPlace & { readonly role: 'consumer'; readonly task: Omit<ConsumerTask, 'by' | 'seed'> });
