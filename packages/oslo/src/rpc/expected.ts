/** Constructors of errors. */
type ErrorClass = abstract new (...args: never[]) => Error;

const expected = new WeakSet<object>();

/**
 * A method whose errors of these classes are part of its interface: the caller gets them, and the server does not tell of them
 * (`oslo_messaging.expected_exceptions`).
 */
export function expectedExceptions<This, A extends unknown[], R>(
  classes: readonly ErrorClass[],
  method: (this: This, ...args: A) => R | Promise<R>,
): (this: This, ...args: A) => Promise<R> {
  return async function withExpected(this: This, ...args: A): Promise<R> {
    try {
      return await method.apply(this, args);
    } catch (error) {
      if (error instanceof Error && classes.some((type) => error instanceof type)) expected.add(error);
      throw error;
    }
  };
}

export function isExpected(error: unknown): boolean {
  return typeof error === 'object' && error !== null && expected.has(error);
}
