/** The proxy that misbehaves on command. It lies where the chaos runs find it too. */
export * from '../../../../scripts/lib/network/fault-proxy.ts';
