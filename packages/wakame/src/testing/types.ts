import type { ConnectionOptions } from '../index.js';
import type { TransportFeatures } from '../transport/contract.js';
import type { ConformanceContext } from './context.js';

/** The flags of {@link TransportFeatures} that are simply true or false. */
export type FeatureFlag = {
  [Name in keyof TransportFeatures]-?: TransportFeatures[Name] extends boolean ? Name : never;
}[keyof TransportFeatures];

/** Something that is not the transport's doing, but the test bench's. */
export type Means = 'disrupt' | 'outage' | 'mute' | 'restartBroker' | 'processes';

/**
 * What a case cannot do without: a flag, an exchange type, an order of priorities that is not `none`, or a means that
 * the options give.
 */
export type Requirement = FeatureFlag | `exchange:${string}` | 'priority' | Means;

/** One behaviour that every transport shows, or says by a feature flag that its broker cannot. */
export interface ConformanceCase {
  readonly group: string;
  readonly name: string;
  readonly needs: readonly Requirement[];
  /** Milliseconds. */
  readonly timeout: number;
  /** Fails by rejecting. What the context made is closed and deleted afterwards. */
  run(context: ConformanceContext): Promise<void>;
}

/** How the suite breaks the connections of its own making, as a network would. */
export interface Disruptor {
  /** The URL whose connections this breaks. The same broker as the suite's own URL. */
  readonly url: string;
  /** Drops every open connection to `url`, without a word of the protocol. */
  drop(): Promise<void>;
  /** Drops every open connection to `url`, and lets no new one succeed until the function returned is called. */
  outage?(): Promise<() => Promise<void>>;
  /** What the broker says no longer arrives, while what it is told still does, until `drop` or the function returned. */
  mute?(): Promise<() => Promise<void>>;
}

/** How the suite starts Node processes that use the transport. */
export interface Processes {
  /** The broker's URL, as another process reaches it. Default: the suite's URL. */
  readonly url?: string | undefined;
  /** Modules (file URLs or package names) that the child imports first, such as one that registers a transport. */
  readonly imports?: readonly string[] | undefined;
  /** Node's own flags. */
  readonly execArgv?: readonly string[] | undefined;
}

/** What the suite is told about a transport. */
export interface ConformanceOptions {
  /** Begins the names of groups: `redis`. */
  readonly name: string;
  /** The broker to test. Its transport is registered already. */
  readonly url: string;
  /** Beside the URL: for every Connection that the suite makes. */
  readonly connection?: ConnectionOptions | undefined;
  /**
   * Why the broker cannot do what `features` does not claim: one reason for each flag that is false, each of the four
   * exchange types that is missing, `priority` when it is `none`. A gap without a reason fails the suite, and so does
   * a reason for something that is claimed.
   */
  readonly unsupported?: { readonly [Name in Requirement]?: string } | undefined;
  /**
   * Multiplies the number of messages in the cases of load. Default: the environment variable `WAKAME_TEST_SCALE`, or 1, which
   * takes less than a minute.
   */
  readonly scale?: number | undefined;
  /** Without it, or without one of its functions, cases of lost connections are skipped. */
  readonly disrupt?: Disruptor | undefined;
  /**
   * Stops the broker of `url` and starts it again, with its data where it is persistent; resolves when it accepts connections. Without it
   * the cases of restarts are skipped.
   */
  readonly restartBroker?: (() => Promise<void>) | undefined;
  /** Without it the cases that need a process of their own are skipped. */
  readonly processes?: Processes | undefined;
  /**
   * Begins the names of all queues and exchanges that the suite makes; letters, digits, `.`, `-` and `_`. Default:
   * `wakame.` and random digits, so that runs do not meet.
   */
  readonly namespace?: string | undefined;
  /** Milliseconds that a broker may need to answer one call; multiplies all waits of the suite. Default 10 000. */
  readonly patience?: number | undefined;
}
