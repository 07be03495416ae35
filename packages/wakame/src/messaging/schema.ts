import { DecodeError, EncodeError, type SerializationError } from '../errors.js';
import { show } from '../util/check.js';

/**
 * A validator of the Standard Schema family, version 1 (https://standardschema.dev): zod, valibot, arktype and others give
 * their schemas this member. Declared here, so that none of them is needed.
 */
export interface StandardSchemaV1<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    /** For inference only; never read. */
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

/** What a schema says of a value. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

/** One thing wrong with a value. */
export interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** Returns `schema` when it is a Standard Schema. Throws INVALID_ARGUMENT (as `name`) otherwise. */
export function isSchema(schema: unknown): schema is StandardSchemaV1 {
  // Schemas may be functions (arktype's are).
  if ((typeof schema !== 'object' && typeof schema !== 'function') || schema === null) return false;
  const standard = (schema as Partial<StandardSchemaV1>)['~standard'];
  return standard?.version === 1 && typeof standard.validate === 'function';
}

/**
 * The value as `schema` gives it back; a promise when the schema needs to wait.
 *
 * @param failure Makes the error for a value that does not fit, or for a schema that throws: DECODE_FAILED for what was received, ENCODE_FAILED
 *   for what is to be sent. Thrown, or rejected with.
 */
function validate<T>(
  schema: StandardSchemaV1<unknown, T>,
  value: unknown,
  failure: (message: string, cause: unknown) => SerializationError,
): T | Promise<T> {
  const read = (result: SchemaResult<T>): T => {
    if (result.issues === undefined) return result.value;
    throw failure(`does not fit the schema: ${describe(result.issues)}`, result.issues);
  };
  const broken = (error: unknown): never => {
    throw failure(`could not be checked: the schema failed with ${show(error)}`, error);
  };
  let result: SchemaResult<T> | Promise<SchemaResult<T>>;
  try {
    result = schema['~standard'].validate(value);
  } catch (error) {
    return broken(error);
  }
  return result instanceof Promise ? result.then(read, broken) : read(result);
}

/** Validates what was received; gives the schema's output. Throws or rejects DECODE_FAILED, with the issues as `cause`. */
export function checkReceived<T>(schema: StandardSchemaV1<unknown, T>, payload: unknown): T | Promise<T> {
  return validate(schema, payload, (message, cause) => new DecodeError(`the payload ${message}`, { cause }));
}

/**
 * Validates what is to be sent. The value itself is sent, not the schema's output: it is the input that the schema of
 * the receiver will be given. Throws or rejects ENCODE_FAILED, with the issues as `cause`.
 */
export function checkToSend(schema: StandardSchemaV1<unknown, unknown>, body: unknown): unknown {
  return validate(schema, body, (message, cause) => new EncodeError(`the body ${message}`, { cause }));
}

const MOST_ISSUES = 3;

/** `size: expected a number; name: required; … 4 more` */
function describe(issues: readonly SchemaIssue[]): string {
  const shown = issues.slice(0, MOST_ISSUES).map((issue) => {
    const path = (issue.path ?? []).map((step) => String(typeof step === 'object' ? step.key : step)).join('.');
    return path === '' ? issue.message : `${path}: ${issue.message}`;
  });
  if (issues.length > MOST_ISSUES) shown.push(`… ${issues.length - MOST_ISSUES} more`);
  return shown.join('; ');
}
