import { describe, expect, it } from 'vitest';
import { account, type Rule } from '../account/account.ts';
import { Log } from './log.ts';

/** Which rules a log breaks, in the order of the complaints. */
function broken(log: Log): Rule[] {
  return account(log.records).violations.map(({ rule }) => rule);
}

describe('a run in which nothing went wrong', () => {
  const result = account(
    new Log()
      .send(1)
      .take('a.1', 1)
      .send(2)
      .take('b.1', 2)
      .send(3, 'ordered')
      .take('a.1', 3, { queue: 'ordered' })
      .end().records,
  );

  it('balances', () => {
    expect(result.violations).toEqual([]);
    expect(result).toMatchObject({ published: 3, confirmed: 3, deliveries: 3, kills: 0, orphaned: 0 });
    expect(result.duplicates.total).toBe(0);
  });
});

describe('messages that did not arrive', () => {
  it('confirmed and never delivered', () => {
    expect(broken(new Log().send(1).send(2).take('a.1', 1).end())).toEqual(['lost']);
  });

  it('confirmed by a publisher that died later: lost all the same', () => {
    expect(broken(new Log().send(1).kill('p.1').end())).toEqual(['lost']);
  });

  it('rejected as refused, not sent or unknown: nothing was promised', () => {
    const log = new Log()
      .publish(1)
      .reject(1, 'refused')
      .publish(2)
      .reject(2, 'not-sent')
      .publish(3)
      .reject(3, 'unknown');
    const result = account(log.end().records);
    expect(result.violations).toEqual([]);
    expect(result.rejected).toEqual({ 'not-sent': 1, refused: 1, unknown: 1 });
  });

  it('rejected as refused or not sent, and delivered', () => {
    const log = new Log()
      .publish(1)
      .reject(1, 'refused')
      .take('a.1', 1)
      .publish(2)
      .reject(2, 'not-sent')
      .take('a.1', 2);
    expect(broken(log.end())).toEqual(['untrue', 'untrue']);
  });

  it('outcome unknown, and delivered', () => {
    expect(broken(new Log().publish(1).reject(1, 'unknown').take('a.1', 1).end())).toEqual([]);
  });

  it('without an outcome although its publisher lived to the end', () => {
    expect(broken(new Log().publish(1).take('a.1', 1).end())).toEqual(['pending']);
  });

  it('without an outcome because its publisher was killed', () => {
    const result = account(new Log().publish(1).kill('p.1').end().records);
    expect(result.violations).toEqual([]);
    expect(result.orphaned).toBe(1);
  });
});

describe('messages that came twice', () => {
  it('for no reason at all', () => {
    expect(broken(new Log().send(1).take('a.1', 1).take('b.1', 1).end())).toEqual(['duplicate']);
  });

  it('redelivered, and nothing had happened to the holder', () => {
    const log = new Log().send(1).take('a.1', 1).take('b.1', 1, { redelivered: true });
    expect(broken(log.end())).toEqual(['duplicate']);
  });

  it('redelivered because the holder was killed before its ack', () => {
    const log = new Log().send(1).deliver('a.1', 1).kill('a.1').start('a.2').take('b.1', 1, { redelivered: true });
    const result = account(log.end().records);
    expect(result.violations).toEqual([]);
    expect(result.kills).toBe(1);
    expect(result.duplicates).toMatchObject({ total: 1, redelivered: new Map([['kill -9', 1]]) });
  });

  it('redelivered, and the holder was killed after its ack', () => {
    const log = () => new Log().send(1).take('a.1', 1).kill('a.1').take('b.1', 1, { redelivered: true }).end();
    expect(broken(log())).toEqual(['duplicate']);
  });

  it('an ack is on its way for some time: then the fault is a reason', () => {
    const log = (ms: number) =>
      new Log({ ackGrace: 500 })
        .send(1)
        .take('a.1', 1)
        .wait(ms)
        .kill('a.1')
        .take('b.1', 1, { redelivered: true })
        .end();
    expect(broken(log(400))).toEqual([]);
    expect(broken(log(600))).toEqual(['duplicate']);
  });

  it('to somebody who cannot tell whether it is redelivered: for a reason, or for none', () => {
    const untold = { redelivered: null };
    const killed = new Log().send(1).deliver('a.1', 1).kill('a.1').start('a.2').take('b.1', 1, untold);
    expect(broken(killed.end())).toEqual([]);
    expect(broken(new Log().send(1).take('a.1', 1).take('b.1', 1, untold).end())).toEqual(['duplicate']);
    // The first one, and a later one that is flagged.
    const first = new Log().send(1).deliver('b.1', 1, untold).kill('b.1').take('a.1', 1, { redelivered: true });
    expect(broken(first.end())).toEqual([]);
  });

  it('redelivered, and it was somebody else who was killed', () => {
    const log = new Log().send(1).deliver('a.1', 1).kill('b.1').start('b.2').take('b.2', 1, { redelivered: true });
    expect(broken(log.ack('a.1', false).end())).toEqual(['duplicate']);
  });

  it('redelivered, and handled before the first delivery, which waited in its holder when the connection was lost', () => {
    const taken = (log: Log) => log.take('b.1', 1, { redelivered: true }).take('a.1', 1);
    expect(
      broken(
        taken(new Log().send(1).fault('cut', ['a']))
          .over()
          .send(2)
          .take('a.1', 2)
          .end(),
      ),
    ).toEqual([]);
    expect(broken(taken(new Log().send(1)).end())).toEqual(['duplicate']);
  });

  it('handled after the fault in which its lease ran out, and acked too late', () => {
    const log = (waiting: number) =>
      new Log({ waiting })
        .send(1)
        .fault('pause', ['a'])
        .over()
        .wait(500)
        .deliver('a.1', 1)
        .ack('a.1', false)
        .take('b.1', 1, { redelivered: true })
        .send(2)
        .take('a.1', 2)
        .end();
    expect(broken(log(1000))).toEqual([]);
    expect(broken(log(100))).toEqual(['duplicate']);
  });

  it('not flagged, although the holder was killed', () => {
    expect(broken(new Log().send(1).deliver('a.1', 1).kill('a.1').take('b.1', 1).end())).toEqual(['duplicate']);
  });

  it('not flagged, as the broker crashed and forgot that it had delivered it', () => {
    const log = (crash: boolean) =>
      new Log()
        .send(1)
        .deliver('a.1', 1)
        .fault('broker', 'all', { crash })
        .over()
        .send(2)
        .take('b.1', 2)
        .take('a.1', 1);
    expect(account(log(true).end().records)).toMatchObject({ violations: [], duplicates: { forgotten: 1 } });
    expect(broken(log(false).end())).toEqual(['duplicate']);
  });

  it('sent again because of a fault before the confirm', () => {
    const log = new Log().publish(1).take('a.1', 1).fault('cut', ['p']).over().confirm(1, 2).take('b.1', 1);
    expect(account(log.end().records)).toMatchObject({ violations: [], duplicates: { resent: new Map([['cut', 1]]) } });
  });

  it('sent again, and no fault had hit the publisher', () => {
    expect(broken(new Log().publish(1).confirm(1, 2).take('a.1', 1).take('b.1', 1).end())).toEqual(['duplicate']);
    const elsewhere = new Log().publish(1).fault('cut', ['a']).over().take('a.1', 1).confirm(1, 2).take('b.1', 1);
    expect(broken(elsewhere.end())).toEqual(['duplicate']);
  });

  it('sent once by its own word, and a fault had hit the publisher', () => {
    const log = new Log().publish(1).fault('cut', ['p']).over().confirm(1).take('a.1', 1).take('b.1', 1);
    expect(broken(log.end())).toEqual(['duplicate']);
  });

  it('a fault ends for a worker when it has lost the spoilt connection', () => {
    const log = (lossAfter: number) =>
      new Log({ patience: 100_000 })
        .send(1)
        .fault('half-open', ['a'])
        .over()
        .wait(lossAfter)
        .deliver('a.1', 1)
        .add({ event: 'lost', by: 'a.1', why: 'HEARTBEAT_TIMEOUT' })
        .take('b.1', 1, { redelivered: true })
        .ack('a.1', false)
        .end();
    expect(broken(log(5000))).toEqual([]);
    expect(broken(log(40_000))).toEqual(['duplicate']);
  });
});

describe('order', () => {
  it('one producer, one consumer: as published', () => {
    expect(broken(new Log().send(1).send(2).take('a.1', 2).take('a.1', 1).end())).toEqual(['order']);
  });

  it('several consumers: each by itself', () => {
    const log = new Log().send(1).send(2).send(3).take('a.1', 2).take('b.1', 1).take('a.1', 3);
    expect(broken(log.end())).toEqual([]);
  });

  it('several producers: each by itself', () => {
    const log = new Log().start('q.1', 'producer').send(1).publish(1, 'work', 'q.1').confirm(1, 1, 'q.1').send(2);
    expect(broken(log.take('a.1', 1).take('a.1', 2).take('a.1', 1, { producer: 'q.1' }).end())).toEqual([]);
  });

  it('what is redelivered may come late, and does not count for what follows', () => {
    const log = new Log().send(1).send(2).send(3).deliver('a.1', 3).kill('a.1');
    expect(broken(log.take('b.1', 3, { redelivered: true }).take('b.1', 1).take('b.1', 2).end())).toEqual([]);
  });

  it('what was sent again may come late where several consume', () => {
    const log = new Log().publish(1).send(2).fault('cut', ['p']).over().confirm(1, 2).take('a.1', 2).take('a.1', 1);
    expect(broken(log.end())).toEqual([]);
  });

  it('what another consumer gave back unseen when it was hit, where that is not marked', () => {
    const log = (returnsUnmarked: boolean, fault: boolean) => {
      const sent = new Log({ returnsUnmarked }).send(1).send(2);
      const hit = fault ? sent.fault('reset', ['b']).over() : sent;
      return hit.take('a.1', 2).take('a.1', 1).send(3).take('b.1', 3).end();
    };
    expect(broken(log(true, true))).toEqual([]);
    expect(broken(log(true, false))).toEqual(['order']);
    expect(broken(log(false, true))).toEqual(['order']);
  });

  it('with a single consumer, what was sent twice and came back once is first when it comes', () => {
    const log = new Log()
      .fault('stall', ['p'])
      .publish(1, 'ordered')
      .publish(2, 'ordered')
      .over()
      .confirm(1, 2)
      .confirm(2, 2)
      .take('a.1', 2, { queue: 'ordered' })
      .take('a.1', 1, { queue: 'ordered' })
      .take('a.1', 2, { queue: 'ordered' });
    const copy = (killed: boolean) =>
      killed ? log.fault('kill', ['b']).over().take('a.1', 1, { queue: 'ordered', redelivered: true }) : log;
    expect(broken(copy(true).send(3).take('b.1', 3).end())).toEqual([]);
  });

  it('with a single consumer, the first delivery of what was sent again is in order, too', () => {
    const queue = 'ordered';
    const log = () =>
      new Log().publish(1, queue).publish(2, queue).fault('cut', ['p']).over().confirm(1, 2).confirm(2, 2);
    const again = log()
      .take('a.1', 1, { queue })
      .take('a.1', 2, { queue })
      .take('a.1', 1, { queue })
      .take('a.1', 2, { queue });
    expect(broken(again.end())).toEqual([]);
    expect(broken(log().take('a.1', 2, { queue }).take('a.1', 1, { queue }).end())).toEqual(['order']);
  });
});

describe('coming back after a fault', () => {
  it('is measured from the end of the fault to the first and to the last of those it hit', () => {
    const log = new Log().fault('cut', 'all').over().wait(90).send(1).take('a.1', 1).wait(170).send(2).take('b.1', 2);
    const [recovery, ...others] = account(log.end().records).recoveries;
    expect(others).toEqual([]);
    // Publish, confirm: 90 + 20. Publish, confirm, delivery, ack, and the same again: 90 + 170 + 70.
    // In between, and from the beginning of the fault to its end: 10 more.
    expect(recovery).toEqual({ kind: 'cut', first: 110, all: 330, silence: 120 });
  });

  it('of a fault that leaves others at work, the longest silence of all whom it hit', () => {
    const log = new Log().fault('node', 'all').send(1).take('a.1', 1).wait(300).send(2).take('a.1', 2).over();
    const [recovery] = account(log.send(3).take('b.1', 3).send(4).take('a.1', 4).end().records).recoveries;
    // From the delivery of the first to the confirm of the second: ack, 300, publish, confirm.
    expect(recovery).toMatchObject({ silence: 330 });
  });

  it('is not measured where the next fault came too soon', () => {
    const log = new Log().fault('cut', ['a']).over().fault('stall', ['b']).send(1).take('a.1', 1).take('b.1', 1).over();
    const result = account(log.send(2).take('b.1', 2).end().records);
    expect(result.faults).toBe(2);
    expect(result.recoveries.map(({ kind }) => kind)).toEqual(['stall']);
  });

  it('a consumer whose successor takes long to start', () => {
    const log = (wait: number) =>
      new Log()
        .fault('cut', ['a'])
        .over()
        .send(1)
        .kill('a.1')
        .start('a.2', 'consumer', { ready: false })
        .wait(wait)
        .add({ event: 'awake', by: 'a.2' });
    expect(broken(log(1500).take('a.2', 1).end())).toEqual([]);
    expect(broken(log(1500).wait(1500).take('a.2', 1).end())).toEqual(['silent']);
  });

  it('a consumer whose successors are killed before they are ready', () => {
    const log = (ready: boolean) => {
      const begun = new Log().fault('cut', ['a']).over().send(1).kill('a.1').start('a.2', 'consumer', { ready: false });
      begun.add({ event: 'awake', by: 'a.2' });
      if (ready) begun.add({ event: 'ready', by: 'a.2' });
      return begun.wait(1500).kill('a.2').start('a.3').take('a.3', 1).end();
    };
    expect(broken(log(false))).toEqual([]);
    expect(broken(log(true))).toEqual(['silent']);
  });

  it('is not measured of a worker that was killed: a process takes its time to start', () => {
    const log = (killed: boolean) => {
      const begun = new Log().fault('cut', ['a']).over().send(1);
      if (killed) begun.kill('a.1').start('a.2');
      return begun.take(killed ? 'a.2' : 'a.1', 1).end();
    };
    expect(account(log(false).records).recoveries).toHaveLength(1);
    expect(account(log(true).records)).toMatchObject({ recoveries: [], violations: [] });
  });

  it('a consumer that gets nothing any more', () => {
    const log = new Log().fault('cut', ['a', 'b']).over().send(1).send(2).take('a.1', 1).take('a.1', 2);
    expect(broken(log.end())).toEqual(['silent']);
  });

  it('a consumer that takes too long', () => {
    const log = new Log().fault('cut', ['a']).over().send(1).wait(1500).take('a.1', 1);
    expect(broken(log.end())).toEqual(['silent']);
  });

  it('a producer that gets no confirms any more', () => {
    const log = new Log().publish(1).fault('cut', ['p']).over().confirm(1, 2).take('a.1', 1).fault('cut', ['p']).over();
    expect(broken(log.end())).toEqual(['silent']);
  });

  it('the time of a further fault is not held against anybody', () => {
    const log = (second: boolean) => {
      const begun = new Log().fault('cut', ['a']).over();
      if (second) begun.fault('stop', ['p']);
      begun.wait(2000);
      if (second) begun.over();
      return begun.send(1).take('a.1', 1).end();
    };
    expect(broken(log(true))).toEqual([]);
    expect(broken(log(false))).toEqual(['silent']);
  });

  it('a replacement counts for its place', () => {
    const log = new Log().kill('a.1').fault('cut', ['a']).over().start('a.2').send(1).take('a.2', 1);
    expect(broken(log.end())).toEqual([]);
  });

  it('a side queue that is not consumed again', () => {
    const log = (again: boolean) => {
      const begun = new Log().add({ event: 'side', by: 'a.1' }).fault('queue deleted', ['a'], { side: true }).over();
      if (again) begun.add({ event: 'side', by: 'a.1' });
      return begun.send(1).take('a.1', 1).end();
    };
    expect(broken(log(true))).toEqual([]);
    expect(broken(log(false))).toEqual(['silent']);
  });

  it('a fault without an end', () => {
    expect(broken(new Log().fault('cut', 'all').end())).toEqual(['silent']);
  });
});

describe('what nobody published', () => {
  it('an unknown number, a wrong queue, a damaged body', () => {
    const log = new Log().send(1, 'ordered').take('a.1', 1, { queue: 'ordered' }).take('a.1', 7).take('a.1', 1);
    expect(broken(log.add({ event: 'damaged', by: 'a.1', queue: 'work', text: '{}' }).end())).toEqual([
      'stray',
      'stray',
      'stray',
    ]);
  });
});

describe('processes', () => {
  const by = 'c.1';
  const started = () => new Log().end().start(by);

  it('that crash', () => {
    expect(broken(started().add({ event: 'ended', by, code: 1, signal: null }))).toEqual(['process']);
    const told = started().add({ event: 'told', by }, { event: 'ended', by, code: null, signal: 'SIGSEGV' });
    expect(broken(told)).toEqual(['process']);
  });

  it('that end by themselves', () => {
    expect(broken(started().add({ event: 'ended', by, code: 0, signal: null }))).toEqual(['process']);
  });

  it('that end before they have finished', () => {
    const log = started().add({ event: 'told', by }, { event: 'ended', by, code: 0, signal: null });
    expect(broken(log)).toEqual(['process']);
  });

  it('that do not end', () => {
    expect(broken(started().add({ event: 'told', by }))).toEqual(['process']);
  });

  it('that were killed', () => {
    expect(broken(started().kill(by))).toEqual([]);
  });

  it('the peak of their memory, by role', () => {
    const log = new Log().add({ event: 'memory', by: 'a.1', bytes: 7 }, { event: 'memory', by: 'b.1', bytes: 5 }).end();
    expect(account(log.records).peakMemory.get('consumer (node)')).toBe(7);
  });
});

describe('what is no log', () => {
  it.each([
    ['empty', []],
    ['without its head', new Log().records.slice(1)],
    [
      'with somebody who was never started',
      new Log().add({ event: 'publish', by: 'x.1', queue: 'work', number: 1 }).records,
    ],
    ['with an outcome of nothing', new Log().confirm(1).records],
    ['with an end of no fault', new Log().over().records],
  ])('%s', (_, records) => {
    expect(() => account(records)).toThrow();
  });
});
