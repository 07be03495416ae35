import { describe, expect, it } from 'vitest';
import { memoryBroker } from 'wakame/memory';
import { type ConformanceCase, type ConformanceOptions, openSuite } from 'wakame/testing';

const unsupported = { heartbeats: 'no network', persistent: 'no disk', multiProcess: 'one process' };
const options: ConformanceOptions = { name: 'memory', url: 'memory://suite', unsupported };

function caseOf(run: ConformanceCase['run'], timeout = 1_000): ConformanceCase {
  return { group: 'own', name: 'own', needs: [], timeout, run };
}

describe('the conformance suite itself', () => {
  it('fails for a gap without a reason, and for a reason without a gap', async () => {
    const honesty = async (reasons: ConformanceOptions['unsupported']) => {
      const suite = await openSuite({ ...options, unsupported: reasons });
      const planned = suite.plan[0];
      if (planned === undefined) throw new Error('the plan is empty');
      return suite.run(planned);
    };
    await honesty(unsupported);
    await expect(honesty({ ...unsupported, persistent: '' })).rejects.toThrow(/'persistent' is not claimed/);
    await expect(honesty({ ...unsupported, delay: 'lazy' })).rejects.toThrow(/'delay' is claimed/);
    await expect(honesty({ ...unsupported, typo: 'x' } as never)).rejects.toThrow(/'typo', which is no feature/);
  });

  it('names what excuses a case that is skipped', async () => {
    const { plan } = await openSuite(options);
    const reasons = new Set(plan.map(({ skipped }) => skipped));
    expect(reasons).toContain("the options give no 'disrupt'");
    expect(reasons).toContain(undefined);
    const other = await openSuite({ ...options, unsupported: { ...unsupported, processes: 'there is one' } });
    expect(other.plan.map(({ skipped }) => skipped)).toContain('processes: there is one');
  });

  it('ends a case that hangs, and says what it waits for', async () => {
    const suite = await openSuite(options);
    const hangs = caseOf((t) => t.within('a miracle', new Promise(() => {})), 50);
    await expect(suite.run(hangs)).rejects.toThrow(/more than 50 ms; it waits for: a miracle/);
    const impatient = await openSuite({ ...options, patience: 20 });
    const waits = caseOf((t) => t.within('a miracle', new Promise(() => {})), 60_000);
    await expect(impatient.run(waits)).rejects.toThrow('in vain for 20 ms: a miracle');
  });

  it('fails a case for a problem that nobody expected', async () => {
    const suite = await openSuite(options);
    const told = caseOf(async (t) => {
      t.connection.problem(Object.assign(new Error('something broke')) as never);
    });
    await expect(suite.run(told)).rejects.toThrow(/problems that the case did not expect/);
    const expected = caseOf(async (t) => {
      t.connection.problem(new Error('something broke') as never);
      expect(t.problems().map(String)).toEqual(['Error: something broke']);
    });
    await suite.run(expected);
  });

  it('deletes and closes what a case made, also when it fails', async () => {
    const suite = await openSuite(options);
    const failure = new Error('on purpose');
    const fails = caseOf(async (t) => {
      const queue = t.queue('q', { exchange: t.exchange('e') }).bind(t.connection);
      await queue.declare();
      expect(memoryBroker('suite').queues()).toHaveLength(1);
      throw failure;
    });
    await expect(suite.run(fails)).rejects.toBe(failure);
    expect(memoryBroker('suite').queues()).toEqual([]);
    expect(memoryBroker('suite').connectionCount).toBe(0);
  });

  it('gives each case names of its own', async () => {
    const suite = await openSuite({ ...options, namespace: 'mine' });
    const names: string[] = [];
    const named = caseOf(async (t) => {
      names.push(t.name('q'));
    });
    await suite.run(named);
    await suite.run(named);
    expect(names).toEqual(['mine.1.q', 'mine.2.q']);
  });
});
