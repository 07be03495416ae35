/** The version of this package, told to brokers. */
export const VERSION = '0.1.0';
