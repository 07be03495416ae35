/** The formats that Kombu's virtual transports share: what drivers may import. Pure functions, no I/O. */
export { bindingPattern, knownBindingPatterns } from './binding-pattern.js';
export { copyMessage, copyTable } from './copy.js';
export {
  decodeEnvelope,
  type Envelope,
  type EnvelopeLimits,
  type EnvelopeOptions,
  encodeEnvelope,
} from './envelope.js';
export * from './json/index.js';
export { clampPriority } from './properties.js';
export { hasWildcard, matchTopic, TopicIndex } from './topic.js';
