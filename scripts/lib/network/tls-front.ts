import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { createServer } from 'node:tls';

const read = (name: string) => readFileSync(new URL(`./tls/${name}`, import.meta.url), 'utf8');

/** What a client must trust to accept the front. */
export const certificate = read('server.crt');

/** A TLS server that passes what it decrypts to a plain one. */
export interface TlsFront {
  readonly port: number;
  close(): Promise<void>;
}

/** Puts TLS, with a certificate that nobody trusts by default, before a plain server. */
export async function startTlsFront(target: { readonly host: string; readonly port: number }): Promise<TlsFront> {
  const open = new Set<Socket>();
  const server = createServer({ cert: certificate, key: read('server.key') }, (client) => {
    const inner = connect(target.port, target.host);
    for (const socket of [client, inner]) {
      open.add(socket);
      socket.on('error', () => {}); // 'close' follows.
      socket.once('close', () => {
        open.delete(socket);
        client.destroy();
        inner.destroy();
      });
    }
    client.pipe(inner).pipe(client);
  });
  server.on('tlsClientError', () => {}); // Clients that do not accept the certificate hang up.
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
