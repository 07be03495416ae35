/** TLS before a plain server. It lies where the chaos runs find it too. */
export * from '../../../../scripts/lib/network/tls-front.ts';
