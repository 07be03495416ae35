/**
 * What the packages built on Wakame share with it (`wakame/util`): checks of options, waits, typed events. For `@wakame/*`; it may change
 * with any version.
 *
 * @packageDocumentation
 */
export { onAbort, raceSignal, sleep } from './abort.js';
export { Alarm } from './alarm.js';
export * from './check.js';
export { Deadline, doneBefore, withDeadline } from './deadline.js';
export { type Deferred, deferred } from './deferred.js';
export { type EventMap, TypedEmitter } from './emitter.js';
export { didYouMean } from './nearest.js';
export { noop } from './noop.js';
export { secondsToMs } from './seconds.js';
export { after } from './timer.js';
export { warnOnce } from './warnings.js';
