/**
 * What is done in the database, as steps: a generator yields a statement and is given its answer. One and the same text of an operation is
 * run synchronously on SQLite, where a transaction must begin and end within one call, and asynchronously elsewhere.
 */

/** A statement with `?` for each value. */
export interface Statement {
  readonly text: string;
  readonly values: readonly unknown[];
  /** Its rows are wanted. */
  readonly returns: boolean;
}

export type Row = Readonly<Record<string, unknown>>;

export interface Answer {
  readonly rows: readonly Row[];
  /** How many rows were inserted, changed or deleted. */
  readonly changes: number;
  /** The id that the database gave to the row inserted, where it numbers rows itself. */
  readonly insertId: number;
}

/** An operation under way; its result is a `T`. */
export type Steps<T> = Generator<Statement, T, Answer>;

/** The rows of a query. `R` says what its columns are: the text of the query answers for it. */
export function* all<R extends object = Row>(text: string, ...values: readonly unknown[]): Steps<readonly R[]> {
  const { rows } = yield { text, values, returns: true };
  return rows as readonly R[];
}

/** The first row of a query. */
export function* first<R extends object = Row>(text: string, ...values: readonly unknown[]): Steps<R | undefined> {
  const { rows } = yield { text, values, returns: true };
  return rows[0] as R | undefined;
}

/** Runs a statement for its effect. */
export function* run(text: string, ...values: readonly unknown[]): Steps<Answer> {
  return yield { text, values, returns: false };
}

/** Runs an operation with a function that answers at once. */
export function runSync<T>(steps: Steps<T>, execute: (statement: Statement) => Answer): T {
  let step = steps.next();
  while (step.done !== true) {
    let answer: Answer;
    try {
      answer = execute(step.value);
    } catch (error) {
      step = steps.throw(error);
      continue;
    }
    step = steps.next(answer);
  }
  return step.value;
}

/** Runs an operation with a function that answers later. */
export async function runAsync<T>(steps: Steps<T>, execute: (statement: Statement) => Promise<Answer>): Promise<T> {
  let step = steps.next();
  while (step.done !== true) {
    let answer: Answer;
    try {
      answer = await execute(step.value);
    } catch (error) {
      step = steps.throw(error);
      continue;
    }
    step = steps.next(answer);
  }
  return step.value;
}
