export { LamportClock } from './lamport.js';
