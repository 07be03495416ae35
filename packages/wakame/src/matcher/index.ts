export { type Matcher, MatcherRegistry, matcher } from './registry.js';
