import { spawn } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { fakeBroker } from './support/index.js';

const hooks = new URL('support/sources.mjs', import.meta.url).href;
const client = new URL('../src/index.ts', import.meta.url).href;

interface Outcome {
  code: number | null;
  output: string;
}

/** Runs a program in a process of its own and waits until it ends by itself. */
function run(program: string, url: string): Promise<Outcome> {
  const source = `import { connect } from '${client}';\nconst url = '${url}';\n${program}`;
  const child = spawn(process.execPath, ['--import', hooks, '--input-type=module', '--eval', source]);
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  child.stderr.on('data', (chunk) => {
    output += chunk;
  });
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`the process did not end by itself: ${output}`));
    }, 10_000);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code, output });
    });
  });
}

describe('a process', () => {
  it.each([
    [
      'ends when its connection is closed, whatever was going on',
      `const connection = await connect(url, { heartbeat: 60_000, blockedTimeout: 60_000 });
       const channel = await connection.channel();
       await channel.basicConsume('q', {}, () => undefined);
       await channel.queueDeclare('q');
       void channel.basicPublish('', 'q', 'x');
       await connection.close();
       console.log('done');`,
      /^done\n$/,
    ],
    [
      'ends when its connection is aborted',
      `const connection = await connect(url);
       connection.abort();
       console.log('done');`,
      /^done\n$/,
    ],
    [
      'ends when connecting failed',
      `await connect(url + '?heartbeat=x').catch((error) => console.log(error.code));
       await connect('amqp://127.0.0.1:1').catch((error) => console.log(error.code));`,
      /^INVALID_URL\nCONNECT_FAILED\n$/,
    ],
    [
      'survives the loss of a connection that it does not listen to',
      `const connection = await connect(url);
       const channel = await connection.channel();
       await channel.queueDeclare('die').catch((error) => console.log(error.code));
       setTimeout(() => console.log('alive'), 50);`,
      /^CONNECTION_LOST\nalive\n$/,
    ],
    [
      'is kept alive by an open connection',
      `const connection = await connect(url);
       connection.on('close', () => console.log('closed by the broker'));
       const channel = await connection.channel();
       await channel.queueDeclare('die later');`,
      /^closed by the broker\n$/,
    ],
  ])('%s', async (_what, program, expected) => {
    const broker = await fakeBroker(async (peer) => {
      await peer.handshake({ tune: { heartbeat: 60 } });
      await peer.serve({
        'queue.declare': ({ channel, arguments: { queue } }) => {
          if (queue === 'die') {
            peer.reset();
            return;
          }
          peer.send(channel, 'queue.declare-ok', { queue, messageCount: 0, consumerCount: 0 });
          if (queue === 'die later') setTimeout(() => peer.reset(), 200);
        },
      });
    });
    const { code, output } = await run(program, broker.url);
    expect(output).toMatch(expected);
    expect(code).toBe(0);
  });
});
