import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findProcesses, isListening } from '../lib/brokers/processes.ts';
import { type RabbitmqServer, startRabbitmq } from '../lib/brokers/rabbitmq.ts';

/** Everything that a server of this folder consists of, epmd and helpers included. */
function processesOf(server: RabbitmqServer): number[] {
  const ports = new RegExp(` -port ${server.port + 3} `);
  return findProcesses((line) => line.includes(server.folder) || (line.startsWith('epmd ') && ports.test(line)));
}

/** What the server answers to the AMQP protocol header within that time; undefined for nothing. */
function greet(server: RabbitmqServer, ms: number): Promise<Buffer | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect(server.port, server.host, () => socket.write('AMQP\0\0\x09\x01'));
    const finish = (answer?: Buffer) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(ms, () => finish());
    socket.once('data', finish);
    socket.once('error', reject);
  });
}

describe('a RabbitMQ of a test’s own', () => {
  let server: RabbitmqServer;

  beforeAll(async () => {
    server = await startRabbitmq({ name: 'self-test', config: 'heartbeat = 17' });
  });

  afterAll(async () => {
    await server?.stop();
  });

  it('speaks AMQP and serves the management API, on the loopback interface only', async () => {
    // A method frame, type 1, on channel 0: connection.start.
    expect((await greet(server, 5000))?.subarray(0, 3)).toEqual(Buffer.from([1, 0, 0]));

    const { username, password, origin } = new URL(server.managementUrl);
    const headers = { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` };
    const response = await fetch(`${origin}/api/overview`, { headers });
    expect(response.status).toBe(200);

    // All of 127.0.0.0/8 is this machine, but only a server that listens on every interface is found at 127.0.0.2.
    for (const port of [server.port, server.port + 1, server.port + 2, server.port + 3]) {
      expect(await isListening(port)).toBe(true);
      expect(await isListening(port, '127.0.0.2')).toBe(false);
    }
  });

  it('takes further settings and answers rabbitmqctl', async () => {
    expect(await server.ctl('environment')).toContain('{heartbeat,17}');
    await expect(server.ctl('no_such_command')).rejects.toThrow('rabbitmqctl no_such_command');
  });

  it('keeps URL and data when it is killed and started again', async () => {
    const { url } = server;
    await server.ctl('add_vhost', 'kept');
    await server.kill();
    expect(await isListening(server.port)).toBe(false);
    expect(processesOf(server)).toEqual([]);

    await server.start();
    expect(server.url).toBe(url);
    expect(await server.ctl('list_vhosts')).toContain('kept');
  });

  it('holds its breath while paused', async () => {
    server.pause();
    expect(await greet(server, 300)).toBeUndefined();
    server.resume();
    expect(await greet(server, 5000)).toBeDefined();
  });

  it('leaves no process behind, also when it is stopped while paused, and stopping twice is no error', async () => {
    server.pause();
    await server.stop();
    expect(processesOf(server)).toEqual([]);
    await server.stop();
    expect(await isListening(server.port)).toBe(false);
  });

  it('says why it cannot start', async () => {
    await expect(startRabbitmq({ name: 'self-test-broken', config: 'no.such.setting = 1' })).rejects.toThrow(
      /did not start.*no\.such\.setting/s,
    );
  });

  it('refuses a name that is no folder name', async () => {
    await expect(startRabbitmq({ name: '../elsewhere' })).rejects.toThrow("'../elsewhere'");
  });
}, 120_000);
