import type { CallOptions, RpcClient } from './client.js';

/** An interface as it looks from afar: each method takes its arguments as one object, and resolves with the result. */
export type Remote<Api extends object> = {
  readonly [M in keyof Api as Api[M] extends (...args: never[]) => unknown ? M : never]: Api[M] extends (
    ...args: infer A
  ) => infer R
    ? RemoteMethod<A, Awaited<R>>
    : never;
};

/** A method without arguments may be called without any. What an endpoint's method gets beside its arguments is the server's. */
export type RemoteMethod<A extends readonly unknown[], R> = A extends readonly []
  ? (args?: Readonly<Record<string, never>>, options?: CallOptions) => Promise<R>
  : undefined extends A[0]
    ? (args?: A[0], options?: CallOptions) => Promise<R>
    : (args: A[0], options?: CallOptions) => Promise<R>;

/** Functions that call methods of the same name. */
export function remoteProxy<Api extends object>(client: RpcClient): Remote<Api> {
  const methods = new Map<string, unknown>();
  return new Proxy(Object.create(null), {
    get(_target, name) {
      // A promise that resolves with it asks for `then`.
      if (typeof name !== 'string' || name === 'then') return undefined;
      let method = methods.get(name);
      if (method === undefined) {
        method = (args?: object, options?: CallOptions) => client.call(name, args, options);
        methods.set(name, method);
      }
      return method;
    },
  }) as Remote<Api>;
}
