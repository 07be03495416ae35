import { InvalidArgumentError } from 'wakame';
import { show } from 'wakame/util';

/** Which methods of an endpoint peers may call. */
export type AccessPolicy =
  /** All but those whose names begin with `_`. The default. */
  | 'default'
  /** All. */
  | 'legacy'
  /** Those marked by {@link expose}. */
  | 'explicit'
  | ((endpoint: object, method: string) => boolean);

const exposed = new WeakSet<object>();

/**
 * Marks a method that peers may call under the policy `explicit`; returns it.
 *
 * ```ts
 * const endpoint = { reboot: expose(({ id }: { id: number }) => …), helper() { … } };
 * ```
 */
export function expose<F extends (...args: never[]) => unknown>(method: F): F {
  exposed.add(method);
  return method;
}

/** Throws INVALID_ARGUMENT. */
export function checkPolicy(policy: unknown): AccessPolicy {
  if (policy === 'default' || policy === 'legacy' || policy === 'explicit') return policy;
  if (typeof policy === 'function') return policy as AccessPolicy;
  throw new InvalidArgumentError(
    `accessPolicy must be 'default', 'legacy', 'explicit' or a function, not ${show(policy)}`,
  );
}

/** The method of an endpoint that a peer asks for; undefined when there is none, or it is not for peers. */
export function methodOf(endpoint: object, name: string, policy: AccessPolicy): Method | undefined {
  // What every object has is nobody's interface, and a class is not a method of its instances.
  if (name === 'constructor' || name in Object.prototype) return undefined;
  const method: unknown = (endpoint as Record<string, unknown>)[name];
  if (typeof method !== 'function') return undefined;
  const allowed =
    typeof policy === 'function'
      ? policy(endpoint, name)
      : policy === 'legacy' || (policy === 'explicit' ? exposed.has(method) : !name.startsWith('_'));
  return allowed ? (method as Method) : undefined;
}

export type Method = (...args: unknown[]) => unknown;
