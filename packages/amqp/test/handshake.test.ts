import net from 'node:net';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import packageJson from '../package.json' with { type: 'json' };
import {
  AuthenticationError,
  ConnectionForced,
  type ConnectPhase,
  connect,
  IrrecoverableConnectionError,
  MessagingError,
  NotAllowed,
  RecoverableConnectionError,
  type SaslMechanism,
  VhostNotFoundError,
} from '../src/index.js';
import { decodeTable } from '../src/protocol/tables.js';
import { VERSION } from '../src/version.js';
import type { FakePeer, Script } from './support/fake-broker.js';
import { connected, fakeBroker, rejection } from './support/index.js';

const close = (peer: FakePeer, replyCode: number, replyText: string) =>
  peer.send(0, 'connection.close', { replyCode, replyText, classId: 10, methodId: 40 });

/** The error of connecting to a broker that follows `script`. */
async function failure(script: Script, options: Parameters<typeof connect>[1] = {}): Promise<MessagingError> {
  const broker = await fakeBroker(script);
  const error = await rejection(connect(broker.url, options));
  expect(error).toBeInstanceOf(MessagingError);
  expect(error.host).toBe(`127.0.0.1:${broker.port}`);
  await (await broker.peer()).hangup();
  return error;
}

describe('what the client says', () => {
  it('logs in with PLAIN, tells of itself and opens the vhost', async () => {
    const broker = await fakeBroker(async (peer) => {
      const { startOk, tuneOk, open } = await peer.handshake({ tune: { heartbeat: 30 } });
      expect(startOk.mechanism).toBe('PLAIN');
      expect(startOk.response.toString()).toBe('\0alice\0pässword');
      expect(startOk.locale).toBe('en_US');
      expect(startOk.clientProperties).toEqual({
        product: '@wakame/amqp',
        version: packageJson.version,
        platform: `Node.js ${process.version}`,
        connection_name: 'tester',
        colour: 'green',
        capabilities: {
          publisher_confirms: true,
          exchange_exchange_bindings: true,
          'basic.nack': true,
          consumer_cancel_notify: true,
          'connection.blocked': true,
          authentication_failure_close: true,
          extra: true,
        },
      });
      expect(tuneOk).toEqual({ channelMax: 2047, frameMax: 131_072, heartbeat: 30 });
      expect(open.virtualHost).toBe('/virtual');
      await peer.serve();
    });
    const connection = await connected(`${broker.url}//virtual`, {
      username: 'alice',
      password: 'pässword',
      connectionName: 'tester',
      clientProperties: { colour: 'green', capabilities: { extra: true } },
    });
    expect(connection.state).toBe('open');
    expect(connection.serverProperties.product).toBe('FakeBroker');
    expect(connection).toMatchObject({ channelMax: 2047, frameMax: 131_072, heartbeat: 30_000 });
    expect(VERSION).toBe(packageJson.version);
  });

  it('keeps credentials out of inspect', async () => {
    const broker = await fakeBroker();
    const connection = await connected(broker.url, { username: 'alice', password: 'hunter2' });
    expect(inspect(connection, { depth: 20, showHidden: true })).not.toContain('hunter2');
  });

  it.each([
    // ours, the server's, agreed: channelMax, frameMax, heartbeat (s)
    [{}, { channelMax: 10, frameMax: 8192, heartbeat: 20 }, [10, 8192, 20]],
    [{}, { channelMax: 0, frameMax: 0, heartbeat: 0 }, [2047, 131_072, 60]],
    [{ channelMax: 0, frameMax: 0, heartbeat: 0 }, { channelMax: 5, frameMax: 4096, heartbeat: 7 }, [5, 4096, 0]],
    [{ channelMax: 0, frameMax: 0 }, { channelMax: 0, frameMax: 0, heartbeat: 580 }, [0, 0, 60]],
    [
      { channelMax: 9, frameMax: 5000, heartbeat: 3000 },
      { channelMax: 65535, frameMax: 1e6, heartbeat: 60 },
      [9, 5000, 3],
    ],
  ])('tunes %o against %o to %o', async (ours, theirs, [channelMax, frameMax, heartbeat]) => {
    const broker = await fakeBroker(async (peer) => {
      const { tuneOk } = await peer.handshake({ tune: theirs });
      expect(tuneOk).toEqual({ channelMax, frameMax, heartbeat });
      await peer.serve();
    });
    const connection = await connected(broker.url, ours);
    expect(connection.channelMax).toBe(channelMax === 0 ? 65_535 : channelMax);
    expect(connection.frameMax).toBe(frameMax);
    expect(connection.heartbeat).toBe((heartbeat as number) * 1000);
  });

  it('amqplib#791, rascal#241: proposes frames of 128 KiB, which RabbitMQ 4.1 takes (it refuses less than 8 KiB)', async () => {
    const broker = await fakeBroker(async (peer) => {
      const { tuneOk } = await peer.handshake({ tune: { frameMax: 131_072, channelMax: 2047, heartbeat: 60 } });
      expect(tuneOk).toEqual({ frameMax: 131_072, channelMax: 2047, heartbeat: 60 });
      await peer.serve();
    });
    await connected(broker.url);
  });

  it('asks for the password at each try', async () => {
    let calls = 0;
    const broker = await fakeBroker(async (peer, index) => {
      await peer.start();
      const { arguments: startOk } = await peer.expect('connection.start-ok');
      expect(startOk.response.toString()).toBe(`\0guest\0token-${index + 1}`);
      peer.reset();
    });
    const password = async () => {
      calls += 1;
      return `token-${calls}`;
    };
    await rejection(connect(broker.url, { password, connectionAttempts: 2, retryDelay: 1 }));
    expect(calls).toBe(2);
  });
});

describe('SASL', () => {
  const startOk = async (mechanisms: string, options: Parameters<typeof connect>[1]) => {
    let seen: { mechanism: string; response: Buffer } | undefined;
    const broker = await fakeBroker(async (peer) => {
      seen = (await peer.handshake({ mechanisms })).startOk;
      await peer.serve();
    });
    await connected(broker.url, options);
    return seen;
  };

  it('takes the first wanted mechanism that the server offers', async () => {
    expect(await startOk('AMQPLAIN PLAIN', {})).toMatchObject({ mechanism: 'PLAIN' });
    expect(await startOk('AMQPLAIN', {})).toMatchObject({ mechanism: 'AMQPLAIN' });
    const seen = await startOk('PLAIN EXTERNAL', { mechanism: 'external' });
    expect(seen).toMatchObject({ mechanism: 'EXTERNAL' });
    expect(seen?.response).toHaveLength(0);
  });

  it('writes an AMQPLAIN response as a table without its length', async () => {
    const seen = await startOk('AMQPLAIN', { username: 'bob', password: 'pw' });
    const response = seen?.response ?? Buffer.alloc(0);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(response.length);
    expect(decodeTable(Buffer.concat([length, response]))).toEqual({ LOGIN: 'bob', PASSWORD: 'pw' });
  });

  it('lets others in by a hook, with challenges', async () => {
    const mechanism: SaslMechanism = {
      name: 'X-TEST',
      start: ({ username }) => `I am ${username}`,
      challenge: async (challenge, { password }) => `${challenge}: ${password}`,
    };
    const broker = await fakeBroker(async (peer) => {
      await peer.start({ mechanisms: 'PLAIN X-TEST' });
      expect((await peer.expect('connection.start-ok')).arguments).toMatchObject({
        mechanism: 'X-TEST',
        response: Buffer.from('I am guest'),
      });
      for (const challenge of ['one', 'two']) {
        peer.send(0, 'connection.secure', { challenge });
        const { response } = (await peer.expect('connection.secure-ok')).arguments;
        expect(response.toString()).toBe(`${challenge}: guest`);
      }
      peer.send(0, 'connection.tune', { channelMax: 0, frameMax: 0, heartbeat: 0 });
      await peer.expect('connection.tune-ok');
      await peer.expect('connection.open');
      peer.send(0, 'connection.open-ok', {});
      await peer.serve();
    });
    const connection = await connected(broker.url, { mechanism: [mechanism, 'PLAIN'] });
    expect(connection.state).toBe('open');
  });

  it('fails when there is no mechanism in common', async () => {
    const error = await failure((peer) => peer.start({ mechanisms: 'GSSAPI SCRAM' }));
    expect(error).toBeInstanceOf(AuthenticationError);
    expect(error).toMatchObject({ code: 'AUTH_FAILED', phase: 'sasl', recoverable: false });
    expect(error.message).toContain('GSSAPI SCRAM');
  });

  it('fails on a challenge that the mechanism does not expect', async () => {
    const error = await failure(async (peer) => {
      await peer.start();
      await peer.expect('connection.start-ok');
      peer.send(0, 'connection.secure', { challenge: 'why?' });
    });
    expect(error).toMatchObject({ code: 'AUTH_FAILED', phase: 'sasl' });
  });

  it('fails with what the password function threw as cause', async () => {
    const cause = new Error('vault sealed');
    const error = await failure((peer) => peer.start(), { password: () => Promise.reject(cause) });
    expect(error).toMatchObject({ code: 'CONNECT_FAILED', phase: 'sasl', cause, recoverable: true });
  });
});

describe('refusals', () => {
  const login: Script = async (peer) => {
    await peer.start();
    await peer.expect('connection.start-ok');
  };
  const tuned: Script = async (peer, index) => {
    await login(peer, index);
    peer.send(0, 'connection.tune', { channelMax: 0, frameMax: 0, heartbeat: 0 });
    await peer.expect('connection.tune-ok');
    await peer.expect('connection.open');
  };

  it('wrong password, told with a close', async () => {
    const error = await failure(async (peer, index) => {
      await login(peer, index);
      close(peer, 403, 'ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN');
      await peer.expect('connection.close-ok');
    });
    expect(error).toBeInstanceOf(AuthenticationError);
    expect(error).toMatchObject({ code: 'AUTH_FAILED', phase: 'sasl', replyCode: 403, recoverable: false });
  });

  it('wrong password, told by hanging up', async () => {
    const error = await failure(async (peer, index) => {
      await login(peer, index);
      peer.end();
    });
    expect(error).toBeInstanceOf(AuthenticationError);
    expect(error).toMatchObject({ code: 'AUTH_FAILED', phase: 'sasl' });
  });

  it('a reset during login is no statement about the password', async () => {
    const error = await failure(async (peer, index) => {
      await login(peer, index);
      peer.reset();
    });
    expect(error).toMatchObject({ code: 'CONNECT_FAILED', phase: 'sasl', recoverable: true });
  });

  it.each([
    [530, "NOT_ALLOWED - vhost 'nope' not found"],
    [530, "NOT_ALLOWED - access to vhost 'nope' refused for user 'guest'"],
    [402, 'INVALID_PATH'],
    [403, 'ACCESS_REFUSED'],
  ])('unknown or closed vhost: %i %s', async (code, text) => {
    const error = await failure(async (peer, index) => {
      await tuned(peer, index);
      close(peer, code, text);
      await peer.expect('connection.close-ok');
    });
    expect(error).toBeInstanceOf(VhostNotFoundError);
    expect(error).toMatchObject({ code: 'VHOST_NOT_FOUND', phase: 'open', replyCode: code, replyText: text });
  });

  it('too many connections may pass', async () => {
    const error = await failure(async (peer, index) => {
      await tuned(peer, index);
      close(peer, 530, "NOT_ALLOWED - access to vhost '/' refused for user 'guest': connection limit (1) is reached");
    });
    expect(error).toBeInstanceOf(NotAllowed);
    expect(error).toMatchObject({ code: 'CONNECT_FAILED', recoverable: true });
  });

  it('a broker that shuts down', async () => {
    const error = await failure(async (peer, index) => {
      await tuned(peer, index);
      close(peer, 320, 'CONNECTION_FORCED - broker forced connection closure');
    });
    expect(error).toBeInstanceOf(ConnectionForced);
    expect(error).toMatchObject({ code: 'CONNECT_FAILED', phase: 'open', recoverable: true });
  });

  it('hanging up after the login was accepted is no statement about the password', async () => {
    const error = await failure(async (peer, index) => {
      await tuned(peer, index);
      peer.end();
    });
    expect(error).toMatchObject({ code: 'CONNECT_FAILED', phase: 'open', recoverable: true });
  });

  it('GHSA-37f9-7m79-6866: a frame_max below 4096 (tiny frames exhaust memory)', async () => {
    const error = await failure(async (peer, index) => {
      await login(peer, index);
      peer.send(0, 'connection.tune', { channelMax: 0, frameMax: 16, heartbeat: 0 });
    });
    expect(error).toBeInstanceOf(IrrecoverableConnectionError);
    expect(error).toMatchObject({ code: 'PROTOCOL_ERROR', phase: 'tune' });
    expect(error.message).toContain('16');
  });

  it.each<[string, Script, string]>([
    ['another protocol version by header', (peer) => peer.raw('AMQP\0\0\x08\0'), 'sasl'],
    ['AMQP 1.0', (peer) => peer.raw('AMQP\x03\x01\0\0'), 'sasl'],
    ['HTTP', (peer) => peer.raw('HTTP/1.1 400 Bad Request\r\n\r\n'), 'sasl'],
    [
      'another version in connection.start',
      (peer) =>
        peer.send(0, 'connection.start', {
          versionMajor: 1,
          versionMinor: 0,
          serverProperties: {},
          mechanisms: 'PLAIN',
          locales: 'en_US',
        }),
      'sasl',
    ],
    ['a method out of turn', (peer) => peer.send(0, 'connection.open-ok', {}), 'sasl'],
    ['a frame on another channel', (peer) => peer.send(1, 'channel.open-ok', {}), 'sasl'],
    ['an oversized frame', (peer) => peer.raw(Buffer.from([1, 0, 0, 0xff, 0xff, 0xff, 0xff])), 'sasl'],
    [
      'connection.start twice',
      async (peer) => {
        await peer.start();
        await peer.expect('connection.start-ok');
        await peer.start();
      },
      'sasl',
    ],
  ])('%s', async (_what, script, phase) => {
    const error = await failure(script);
    expect(error).toBeInstanceOf(IrrecoverableConnectionError);
    expect(error).toMatchObject({ phase, recoverable: false });
  });
});

describe('phases', () => {
  /** Goes as far as `phase` and says nothing more. */
  const silentAt =
    (phase: ConnectPhase): Script =>
    async (peer) => {
      if (phase === 'tcp') return;
      await peer.start();
      await peer.expect('connection.start-ok');
      if (phase === 'sasl') return;
      peer.send(0, 'connection.tune', { channelMax: 0, frameMax: 0, heartbeat: 0 });
    };

  it.each<[ConnectPhase, ConnectPhase]>([
    // With an open TCP connection the next thing due is the server's connection.start.
    ['tcp', 'sasl'],
    ['sasl', 'sasl'],
    ['open', 'open'],
  ])('a broker that falls silent at %s: deadline, phase %s', async (at, phase) => {
    const error = await failure(silentAt(at), { connectTimeout: 500 });
    expect(error).toBeInstanceOf(RecoverableConnectionError);
    expect(error).toMatchObject({ code: 'CONNECT_FAILED', phase, cause: { code: 'TIMEOUT' } });
    expect(error.message).toContain('500 ms');
  });

  it.each<[ConnectPhase]>([['tcp'], ['sasl'], ['open']])('an abort at %s', async (at) => {
    const broker = await fakeBroker(silentAt(at));
    const controller = new AbortController();
    const attempt = rejection(connect(broker.url, { signal: controller.signal }));
    const peer = await broker.peer();
    await peer.until(
      () =>
        at === 'tcp' ||
        peer.log.some(({ name }) => name === (at === 'sasl' ? 'connection.start-ok' : 'connection.open')),
    );
    const reason = new Error('changed my mind');
    controller.abort(reason);
    expect(await attempt).toBe(reason);
    await peer.hangup();
  });

  it('an abort before and during a password function', async () => {
    const broker = await fakeBroker((peer) => peer.start());
    await expect(connect(broker.url, { signal: AbortSignal.abort('no') })).rejects.toBe('no');
    expect(broker.peers).toHaveLength(0);

    const controller = new AbortController();
    const password = () => {
      controller.abort('stop');
      return new Promise<string>(() => undefined);
    };
    await expect(connect(broker.url, { signal: controller.signal, password })).rejects.toBe('stop');
    await (await broker.peer()).hangup();
  });

  it('dns', async () => {
    const error = await rejection(connect('amqp://no-such-host.invalid'));
    expect(error).toMatchObject({ code: 'CONNECT_FAILED', phase: 'dns', host: 'no-such-host.invalid:5672' });
    expect((error.cause as NodeJS.ErrnoException).code).toMatch(/ENOTFOUND|EAI_AGAIN/);
  });

  it('tcp: nobody listens', async () => {
    const server = net.createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as net.AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    const error = await rejection(connect(`amqp://127.0.0.1:${port}`));
    expect(error).toMatchObject({ code: 'CONNECT_FAILED', phase: 'tcp', host: `127.0.0.1:${port}`, recoverable: true });
    expect((error.cause as NodeJS.ErrnoException).code).toBe('ECONNREFUSED');
    expect(error.stack).toContain('handshake.test.ts');
  });

  it('tcp: no answer, or no way to the address', async () => {
    // TEST-NET-1 (RFC 5737), which nobody has.
    const error = await rejection(connect('amqp://192.0.2.1', { connectTimeout: 100 }));
    expect(error).toMatchObject({ code: 'CONNECT_FAILED', phase: 'tcp', host: '192.0.2.1:5672', recoverable: true });
  });

  it('the peer hangs up at once', async () => {
    const error = await failure((peer) => peer.end());
    expect(error).toMatchObject({ code: 'CONNECT_FAILED', phase: 'sasl', recoverable: true });
  });
});

describe('several targets', () => {
  const refusing: Script = async (peer) => {
    await peer.start();
    await peer.expect('connection.start-ok');
    close(peer, 403, 'ACCESS_REFUSED');
  };

  it('a name with addresses leads where they say; the next is tried when one cannot be reached', async () => {
    const broker = await fakeBroker();
    const addresses = [
      { address: '127.0.0.9', family: 4 },
      { address: '127.0.0.1', family: 4 },
    ];
    const connection = await connect({ hostname: 'broker.invalid', port: broker.port, addresses });
    expect(connection.host).toBe(`broker.invalid:${broker.port}`);
    const nobody = connect({ hostname: 'broker.invalid', port: 1, addresses: addresses.slice(1) });
    await expect(nobody).rejects.toMatchObject({ code: 'CONNECT_FAILED', phase: 'tcp' });
    for (const bad of [[], [{ address: 'broker', family: 4 }], [{ address: '::1', family: 4 }], [null], 'here']) {
      await expect(connect({ addresses: bad as never })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    }
  });

  it('takes the first that answers, in order, URLs and objects mixed', async () => {
    const down = await fakeBroker((peer) => peer.reset());
    const up = await fakeBroker();
    const connection = await connect([down.url, { hostname: '127.0.0.1', port: up.port }]);
    expect(connection.host).toBe(`127.0.0.1:${up.port}`);
    expect(down.peers).toHaveLength(1);
    await connection.close();
  });

  it('fills in options for what a target lacks', async () => {
    const broker = await fakeBroker(async (peer) => {
      const { open, startOk } = await peer.handshake();
      expect(startOk.response.toString()).toBe('\0carol\0pw');
      expect(open.virtualHost).toBe('mine');
      await peer.serve();
    });
    const connection = await connected(`amqp://carol@127.0.0.1:${broker.port}/mine`, {
      username: 'dave',
      password: 'pw',
      vhost: 'other',
    });
    expect(connection.state).toBe('open');
  });

  it('tries the whole list as often as told', async () => {
    const one = await fakeBroker((peer) => peer.reset());
    const two = await fakeBroker((peer) => peer.reset());
    const error = await rejection(connect([one.url, two.url], { connectionAttempts: 3, retryDelay: 1 }));
    expect([one.peers.length, two.peers.length]).toEqual([3, 3]);
    expect(error).toMatchObject({ code: 'CONNECT_FAILED', host: `127.0.0.1:${two.port}` });
    expect((error.cause as AggregateError).errors).toHaveLength(6);
  });

  it('does not try again what cannot be mended, and reports it rather than the rest', async () => {
    const refused = await fakeBroker(refusing);
    const down = await fakeBroker((peer) => peer.reset());
    const error = await rejection(connect([refused.url, down.url], { connectionAttempts: 2, retryDelay: 1 }));
    expect(error).toBeInstanceOf(AuthenticationError);
    expect([refused.peers.length, down.peers.length]).toEqual([1, 2]);
  });

  it('an abort ends the pause between tries', async () => {
    const broker = await fakeBroker((peer) => peer.reset());
    const controller = new AbortController();
    const attempt = rejection(
      connect(broker.url, { connectionAttempts: 2, retryDelay: 3_600_000, signal: controller.signal }),
    );
    const peer = await broker.peer();
    await peer.hangup();
    setImmediate(() => controller.abort('enough'));
    expect(await attempt).toBe('enough');
  });
});
