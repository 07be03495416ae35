/** For those who write a driver. */
export * from './driver.js';
export { defineVirtualTransport, type VirtualTransportDefinition } from './transport.js';
