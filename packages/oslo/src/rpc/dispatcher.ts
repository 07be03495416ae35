import { InvalidArgumentError } from 'wakame';
import { show } from 'wakame/util';
import { NoSuchMethod, UnsupportedVersion } from '../errors.js';
import { NoOpSerializer, type Serializer } from '../serializer.js';
import { Target, type TargetOptions } from '../target.js';
import { isCompatible } from '../version.js';
import { type Context, type Request, setMember } from '../wire/envelope.js';
import { type AccessPolicy, checkPolicy, type Method, methodOf } from './access.js';

/** What a method gets beside its arguments. */
export interface RpcCall {
  /** What the client sent along. */
  readonly context: Context;
  readonly method: string;
  /** Of the interface, as the client asks for it. */
  readonly namespace: string | undefined;
  /** Of the interface, as the client asks for it. */
  readonly version: string;
  /** Whether somebody waits for the result. */
  readonly isCall: boolean;
  /** Milliseconds of silence after which the client gives up, when it asked for signs of life. The server sends these by itself. */
  readonly clientTimeout: number | undefined;
}

/**
 * An object whose methods can be called: `method(args, call)`. A member `target`, a {@link Target} or what makes one, has the namespace and the version of
 * the interface (default: none, 1.0). (Not part of the type, so that object literals and classes of any shape will do.)
 */
export type Endpoint = object;

/** Finds the method that a request is for: the first endpoint of that namespace, in a version that will do, which has it. */
export class Dispatcher {
  readonly #endpoints: readonly { readonly endpoint: Endpoint; readonly target: Target }[];
  readonly #serializer: Serializer;
  readonly #policy: AccessPolicy;

  /** Throws INVALID_ARGUMENT. */
  constructor(endpoints: readonly Endpoint[], serializer: Serializer | undefined, policy: AccessPolicy | undefined) {
    this.#serializer = serializer ?? new NoOpSerializer();
    this.#policy = checkPolicy(policy ?? 'default');
    this.#endpoints = endpoints.map((endpoint) => {
      if ((typeof endpoint !== 'object' && typeof endpoint !== 'function') || endpoint === null) {
        throw new InvalidArgumentError(`an endpoint must be an object, not ${show(endpoint)}`);
      }
      return { endpoint, target: Target.from((endpoint as { readonly target?: Target | TargetOptions }).target ?? {}) };
    });
  }

  /** The result as it goes over the wire. Rejects with what the method throws, NoSuchMethod, UnsupportedVersion. */
  async dispatch(request: Request): Promise<unknown> {
    const { method: name, namespace, version = '1.0', reply } = request;
    const [endpoint, method] = this.#find(name, namespace, version);
    const context = this.#serializer.deserializeContext(request.context);
    const args: Record<string, unknown> = {};
    for (const key of Object.keys(request.args)) {
      setMember(args, key, this.#serializer.deserializeEntity(context, request.args[key]));
    }
    const { monitorTimeout } = reply ?? {};
    const call: RpcCall = {
      context,
      method: name,
      namespace,
      version,
      isCall: reply !== undefined,
      clientTimeout: monitorTimeout === undefined ? undefined : monitorTimeout * 1000,
    };
    const result = await method.call(endpoint, args, call);
    return this.#serializer.serializeEntity(context, result);
  }

  #find(name: string, namespace: string | undefined, version: string): [Endpoint, Method] {
    let compatible = false;
    for (const { endpoint, target } of this.#endpoints) {
      if (!answersTo(target, namespace) || !isCompatible(target.version ?? '1.0', version)) continue;
      const method = methodOf(endpoint, name, this.#policy);
      if (method !== undefined) return [endpoint, method];
      compatible = true;
    }
    if (compatible) throw new NoSuchMethod(`Endpoint does not support RPC method ${name}`);
    const where = namespace === undefined ? '' : ` of namespace ${namespace}`;
    throw new UnsupportedVersion(`Endpoint does not support RPC version ${version}${where}. Attempted method: ${name}`);
  }
}

function answersTo(target: Target, namespace: string | undefined): boolean {
  return target.namespace === namespace || (namespace !== undefined && target.legacyNamespaces.includes(namespace));
}
