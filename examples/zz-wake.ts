import { Connection, Queue } from 'wakame';
import { Redis } from '../node_modules/ioredis/built/index.js';
import { setTimeout as sleep } from 'node:timers/promises';
const url = process.argv[2]!; const N = Number(process.argv[3]);
const raw = new Redis(url);
const stat = async () => { const t = await raw.info('stats'); const c = await raw.info('cpu'); const cs = await raw.info('commandstats'); const n = [...cs.matchAll(/cmdstat_([^:]+):calls=(\d+)/g)].filter(([, k]) => ['evalsha','ping','client|caching','client|tracking','psubscribe','subscribe'].includes(k!)).reduce((s, m) => s + Number(m[2]), 0); return { n, cpu: Number(/used_cpu_user_main_thread:([\d.]+)/.exec(c)![1]) + Number(/used_cpu_sys_main_thread:([\d.]+)/.exec(c)![1]) }; };
const conns: Connection[] = []; let hit: ((t: number) => void) | undefined;
for (let i = 0; i < N; i++) { const c = new Connection(url); conns.push(c); await c.consumer(new Queue(i % 2 ? `zz.own.${i}` : 'zz.shared'), { onMessage: (m: any) => { hit?.(performance.now()); return m.ack(); } }).consume(); }
await sleep(3000);
const a = await stat(); await sleep(20000); const b = await stat();
console.log(N, 'idle consumers: commands/s', ((b.n - a.n) / 20).toFixed(2), 'server cpu ms/s', ((b.cpu - a.cpu) * 1000 / 20).toFixed(2));
const lat: number[] = [];
for (const q of ['zz.own.1', 'zz.shared']) { lat.length = 0;
for (let i = 0; i < 101; i++) { await sleep(10); const p = new Promise<number>((r) => { hit = r; }); const t0 = performance.now();
 await raw.lpush(q, `{"body": "MQ==", "content-encoding": "utf-8", "content-type": "application/json", "headers": {}, "properties": {"delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "${q}"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "x${q}${i}"}}`);
 lat.push(await p - t0); }
lat.sort((x, y) => x - y); console.log(q, 'latency ms median', lat[50]!.toFixed(2), 'p95', lat[95]!.toFixed(2)); }
for (const c of conns) await c.close(); raw.disconnect();
