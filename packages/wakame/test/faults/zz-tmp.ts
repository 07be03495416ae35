import { registerTransport } from 'wakame';
import { openSuite } from 'wakame/testing';
import { defineVirtualTransport } from 'wakame/virtual';
import { BareDriver } from '../virtual/doubles.js';

const ds = [];
registerTransport('bare', () =>
  defineVirtualTransport({
    name: 'bare',
    createDriver: () => {
      const d = new BareDriver({}, { lease: 600 });
      ds.push(d);
      for (const m of ['send', 'take', 'settle', 'purge', 'sweep', 'declare']) {
        const f = d[m];
        d[m] = async function (...a) {
          const r = await f.apply(this, a);
          if (m !== 'sweep' || r.returned || r.expired.length)
            console.log(m, JSON.stringify(a).slice(0, 300), '=>', JSON.stringify(r).slice(0, 200));
          return r;
        };
      }
      return d;
    },
  }),
);
const s = await openSuite({ name: 'bare', url: 'bare://x' });
for (const c of s.plan)
  if (c.name.startsWith(process.argv[2]))
    await s.run(c).then(
      () => console.log('ok'),
      (e) => console.log(String(e).slice(0, 500)),
    );
