import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type tls from 'node:tls';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { connect, TlsError } from '../src/index.js';
import { type FakeBroker, obliging } from './support/fake-broker.js';
import { connected, fakeBroker, rejection } from './support/index.js';

const file = (name: string) => new URL(`support/certificates/${name}.pem`, import.meta.url).pathname;
const pem = (name: string) => readFileSync(file(name));
const ca = pem('authority');

/** A broker that speaks TLS with the given certificate. */
const secure = (certificate = 'server', more: tls.TlsOptions = {}): Promise<FakeBroker> =>
  fakeBroker(obliging, { tls: { cert: pem(certificate), key: pem(`${certificate}-key`), ...more } });

describe('TLS', () => {
  it('connects to a server that the given authority vouches for, by address and by name', async () => {
    const broker = await secure();
    for (const host of ['127.0.0.1', 'localhost']) {
      const connection = await connected(`amqps://${host}:${broker.port}`, { tls: { ca } });
      expect(connection.state).toBe('open');
    }
  });

  it('takes files by name, and from the URL; reads them at each try', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'wakame-tls-'));
    const caFile = join(folder, 'ca.pem');
    try {
      const broker = await secure();
      const url = `amqps://127.0.0.1:${broker.port}?cacertfile=${encodeURIComponent(caFile)}`;
      const missing = await rejection(connect(url));
      expect(missing).toMatchObject({ code: 'TLS_FAILED', phase: 'tls', cause: { code: 'ENOENT' } });
      await writeFile(caFile, ca);
      await connected(url);
      await connected(broker.url, { tls: { caFile } });
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('does not trust an authority that nobody named', async () => {
    const broker = await secure();
    for (const tls of [true, { ca: pem('stranger') }]) {
      const error = await rejection(connect(broker.url, { tls, connectionAttempts: 3, retryDelay: 1 }));
      expect(error).toBeInstanceOf(TlsError);
      expect(error).toMatchObject({
        code: 'TLS_FAILED',
        phase: 'tls',
        recoverable: false,
        host: `127.0.0.1:${broker.port}`,
      });
      expect(error.message).toMatch(/certificate/);
    }
  });

  it('does not take a certificate for another name, unless that is the name asked for', async () => {
    const broker = await secure('elsewhere');
    const error = await rejection(connect(broker.url, { tls: { ca } }));
    expect(error).toMatchObject({ code: 'TLS_FAILED', cause: { code: 'ERR_TLS_CERT_ALTNAME_INVALID' } });
    await connected(broker.url, { tls: { ca, servername: 'elsewhere.example' } });
    await connected(broker.url, { tls: { ca, checkServerIdentity: () => undefined } });
    await connected(`${broker.url}?ssl_check_hostname=false`, { tls: { ca } });
  });

  it('verifies nothing only when told so', async () => {
    const broker = await secure('elsewhere');
    await connected(broker.url, { tls: { rejectUnauthorized: false } });
    await connected(`${broker.url}?verify=verify_none`);
    await connected(`amqp://127.0.0.1:${broker.port}?ssl_cert_reqs=CERT_NONE`);
  });

  it('shows a client certificate, also with an encrypted key, and logs in with it', async () => {
    const broker = await fakeBroker(
      async (peer) => {
        const { startOk } = await peer.handshake({ mechanisms: 'PLAIN EXTERNAL' });
        expect(startOk.mechanism).toBe('EXTERNAL');
        expect((peer.socket as tls.TLSSocket).getPeerCertificate().subject.CN).toBe('client');
        await peer.serve();
      },
      { tls: { cert: pem('server'), key: pem('server-key'), ca, requestCert: true, rejectUnauthorized: true } },
    );
    await connected(broker.url, { tls: { ca, cert: pem('client'), key: pem('client-key') } });
    const connection = await connected(broker.url, {
      tls: { ca, certFile: file('client'), keyFile: file('client-encrypted-key'), passphrase: 'open-sesame' },
    });
    expect(inspect(connection, { depth: 20, showHidden: true })).not.toContain('open-sesame');
  });

  it('a server that wants a certificate and gets none', async () => {
    const broker = await secure('server', { ca, requestCert: true, rejectUnauthorized: true });
    const error = await rejection(connect(broker.url, { tls: { ca } }));
    // With TLS 1.3 the server says so after the handshake.
    expect(error).toMatchObject({ code: 'TLS_FAILED', phase: 'tls', recoverable: false });
  });

  it('a wrong passphrase, an unusable certificate', async () => {
    const broker = await secure();
    const bad = { ca, certFile: file('client'), keyFile: file('client-encrypted-key'), passphrase: 'hunter2' };
    const error = await rejection(connect(broker.url, { tls: bad }));
    expect(error).toMatchObject({ code: 'TLS_FAILED', phase: 'tls' });
    expect(inspect(error)).not.toContain('hunter2');
    expect(await rejection(connect(broker.url, { tls: { ca, cert: 'nonsense', key: 'nonsense' } }))).toMatchObject({
      code: 'TLS_FAILED',
    });
  });

  it('a server that does not speak TLS; a server that speaks nothing else', async () => {
    const plain = await fakeBroker((peer) => peer.raw('AMQP\0\0\x09\x01'));
    const error = await rejection(connect(`amqps://127.0.0.1:${plain.port}`));
    expect(error).toMatchObject({ code: 'TLS_FAILED', phase: 'tls' });
    const broker = await secure();
    const refused = await rejection(connect(`amqp://127.0.0.1:${broker.port}`, { connectTimeout: 1000 }));
    expect(refused).toMatchObject({ phase: 'sasl' });
  });

  it('a server that falls silent, or hangs up, in the handshake', async () => {
    const silent = await fakeBroker(() => undefined);
    const url = `amqps://127.0.0.1:${silent.port}`;
    expect(await rejection(connect(url, { connectTimeout: 400 }))).toMatchObject({
      code: 'CONNECT_FAILED',
      phase: 'tls',
    });
    const controller = new AbortController();
    const attempt = rejection(connect(url, { signal: controller.signal }));
    await silent.peer(1);
    controller.abort('enough');
    expect(await attempt).toBe('enough');
    const rude = await fakeBroker(async (peer) => {
      await peer.until(() => peer.bytes > 0);
      peer.reset();
    });
    expect(await rejection(connect(`amqps://127.0.0.1:${rude.port}`))).toMatchObject({
      code: 'CONNECT_FAILED',
      phase: 'tls',
      recoverable: true,
    });
  });

  it('carries large bodies both ways', async () => {
    const body = Buffer.alloc(5_000_000, 'wakame');
    const broker = await fakeBroker(
      async (peer) => {
        await peer.handshake();
        await peer.serve({ 'basic.publish': (publish) => peer.deliver(1, 'tag', 1, publish.body) });
      },
      { tls: { cert: pem('server'), key: pem('server-key') } },
    );
    const connection = await connected(broker.url, { tls: { ca } });
    const channel = await connection.channel();
    const back = new Promise<Buffer>((resolve) => {
      void channel.basicConsume('q', { consumerTag: 'tag', noAck: true }, (delivery) => resolve(delivery.body));
    });
    await channel.basicPublish('', 'q', body);
    expect((await back).equals(body)).toBe(true);
  });
});
