/**
 * What clients and servers tell about their work, for metrics and traces: `diagnostics_channel` tracing channels, which cost one test when nobody listens. (What
 * oslo.messaging sends to oslo.metrics.)
 *
 * | tracing channel | spans | context |
 * | --- | --- | --- |
 * | `wakame:oslo:request` | a call until its answer, a cast until the broker has it | {@link RequestContext} |
 * | `wakame:oslo:dispatch` | a method at work for a request | {@link DispatchContext} |
 */
import { tracingChannel } from 'node:diagnostics_channel';
import type { Target } from './target.js';
import type { Request } from './wire/envelope.js';

/** A request of a client. */
export interface RequestContext {
  readonly type: 'call' | 'cast';
  readonly target: Target;
  readonly method: string;
  /** What it resolved with. */
  result?: unknown;
  /** What it rejected with. */
  error?: unknown;
}

/** A method at work. */
export interface DispatchContext {
  /** The server's. */
  readonly target: Target;
  readonly request: Request;
  /** What goes back to the caller. */
  result?: unknown;
  /** What the method threw; or there is none for the request. */
  error?: unknown;
}

/** The tracing channels of RPC. Subscribe with `osloTracing.request.subscribe({ start, asyncEnd, error })`. */
export const osloTracing = {
  request: tracingChannel<RequestContext, RequestContext>('wakame:oslo:request'),
  dispatch: tracingChannel<DispatchContext, DispatchContext>('wakame:oslo:dispatch'),
} as const;
