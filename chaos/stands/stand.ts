/** What a run is about: servers, ways to them, workers, and what can go wrong. */
import type { Crew } from '../crew/crew.ts';
import type { Place } from '../crew/place.ts';
import type { FaultKind } from '../faults/fault.ts';
import type { Rules } from '../ledger/records.ts';

export interface Stand {
  readonly rules: Rules;
  readonly places: readonly Place[];
  /** Every kind of fault, once the workers are there. */
  faults(crew: Crew): readonly FaultKind[];
  close(): Promise<void>;
}

export interface StandOptions {
  /** Distinguishes servers of runs at the same time. */
  readonly name: string;
  /** For files of the stand's own; of the run, and deleted with it. */
  readonly folder: string;
  /** Messages of all producers together. */
  readonly perSecond: number;
}

/** Sets up what a run needs. Installs what is missing, where that can be done. */
export type StandOpener = (options: StandOptions) => Promise<Stand>;
