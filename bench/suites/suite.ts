/** What all suites have in common. */

/** Milliseconds of each measurement. */
export interface Times {
  readonly warmUp: number;
  readonly measure: number;
}

/** Which of a suite's scenarios and participants are to be measured. */
export type Wanted = (scenario: string, adapter: string) => boolean;

/** How a suite is shown. */
export interface Suite {
  readonly name: string;
  /** Its columns, in order. */
  readonly adapters: readonly string[];
  /** Its rows, in order. */
  readonly titles: readonly (readonly [id: string, title: string])[];
}
