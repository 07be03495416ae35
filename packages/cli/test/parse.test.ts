import { describe, expect, it } from 'vitest';
import { celeryArguments } from '../src/celery.js';
import { leadingOptions } from '../src/context.js';
import { table as draw, Output, printable, toJson, wantsColor } from '../src/output.js';
import { count, duration, glob, pair, rate, shellWords, table, time } from '../src/parse.js';
import { properties } from '../src/properties.js';

const list = (...texts: string[]) => texts.map(pair);

describe('the readers of a command line', () => {
  it('read durations', () => {
    expect(['250ms', '10s', '1.5m', '2h', '7d', '3'].map(duration)).toEqual([
      250, 10_000, 90_000, 7_200_000, 604_800_000, 3_000,
    ]);
    for (const bad of ['', '-1s', '1w', 'ten', '1e3', '1 s']) expect(() => duration(bad)).toThrow(/a duration is/);
  });

  it('read counts and rates', () => {
    expect([count('1'), count('10_000'), rate('0.5')]).toEqual([1, 10_000, 0.5]);
    for (const bad of ['0', '-1', '1.5', 'x', '']) expect(() => count(bad)).toThrow(/whole number/);
    for (const bad of ['0', '-1', 'x']) expect(() => rate(bad)).toThrow(/number above 0/);
  });

  it('read pairs, their values as JSON where they are JSON', () => {
    expect(table(list('a=1', 'b=x=y', 'c=', 'd="1"', 'e=[1,2]', 'a=2'))).toEqual({
      a: 2,
      b: 'x=y',
      c: '',
      d: '1',
      e: [1, 2],
    });
    expect(table([])).toBeUndefined();
    expect(table(list('__proto__=1'))).not.toHaveProperty('polluted');
    expect(() => pair('=x')).toThrow(/key=value/);
    expect(() => pair('x')).toThrow(/key=value/);
  });

  it('read properties by any of their names', () => {
    expect(
      properties(
        list('correlation-id=a', 'reply_to=b', 'messageId=c', 'priority=5', 'expiration=10s', 'delivery-mode=1'),
      ),
    ).toEqual({ correlationId: 'a', replyTo: 'b', messageId: 'c', priority: 5, expiration: 10_000, deliveryMode: 1 });
    expect(() => properties(list('colour=red'))).toThrow(/no property 'colour'; there are contentType/);
    expect(() => properties(list('priority=high'))).toThrow(/property priority: a whole number/);
  });

  it('match patterns of names', () => {
    const names = ['orders', 'orders.de', 'xorders', 'order+s'];
    expect(names.filter(glob('orders*'))).toEqual(['orders', 'orders.de']);
    expect(names.filter(glob('order?'))).toEqual(['orders']);
    expect(names.filter(glob('order+s'))).toEqual(['order+s']);
  });

  it('split a line into words as a shell does', () => {
    expect(shellWords('wakame  consume a\\ b "c d" \'e\\\' f:g')).toEqual([
      'wakame',
      'consume',
      'a b',
      'c d',
      'e\\',
      'f:g',
    ]);
    expect(shellWords('wakame get ')).toEqual(['wakame', 'get', '']);
    expect(shellWords(`wakame '' "my qu`)).toEqual(['wakame', '', 'my qu']);
    expect(shellWords('')).toEqual(['']);
  });

  it('take the options that stand before the command', () => {
    expect(leadingOptions(['--json', '-u', 'memory://', 'ping', '-u', 'x'])).toEqual({
      leading: { url: 'memory://', json: true },
      rest: ['ping', '-u', 'x'],
    });
    expect(leadingOptions(['--url=a', 'ping']).leading.url).toBe('a');
    expect(leadingOptions(['--help'])).toEqual({ leading: { url: undefined, json: false }, rest: ['--help'] });
  });

  it("put arguments into Celery's order", () => {
    expect(celeryArguments('control', 'rate_limit', ['tasks.add', '10/m'])).toEqual({
      task_name: 'tasks.add',
      rate_limit: '10/m',
    });
    expect(celeryArguments('control', 'revoke', ['1', 'b', 'terminate=true'])).toEqual({
      task_id: ['1', 'b'],
      terminate: true,
    });
    expect(celeryArguments('control', 'cancel_consumer', ['5'])).toEqual({ queue: '5' });
    expect(celeryArguments('control', 'pool_grow', ['5'])).toEqual({ n: 5 });
    expect(celeryArguments('control', 'terminate', ['KILL', 'a', 'b'])).toEqual({
      signal: 'KILL',
      task_id: ['a', 'b'],
    });
    expect(celeryArguments('inspect', 'query_task', ['a', 'b'])).toEqual({ ids: ['a', 'b'] });
    expect(celeryArguments('control', 'of_my_own', ['x=1'])).toEqual({ x: 1 });
    expect(() => celeryArguments('control', 'shutdown', ['now'])).toThrow(/one too many|too many/);
    expect(() => celeryArguments('inspect', 'revoke', ['id'])).toThrow(/wakame celery control/);
  });
});

describe('output', () => {
  it('is coloured on terminals, and where the environment says so', () => {
    const stream = (isTTY: boolean) => ({ write: () => true, isTTY });
    expect(wantsColor(stream(true), {})).toBe(true);
    expect(wantsColor(stream(false), {})).toBe(false);
    expect(wantsColor(stream(true), { NO_COLOR: '1' })).toBe(false);
    expect(wantsColor(stream(true), { TERM: 'dumb' })).toBe(false);
    expect(wantsColor(stream(false), { FORCE_COLOR: '1' })).toBe(true);
    expect(wantsColor(stream(true), { FORCE_COLOR: '0' })).toBe(false);
  });

  it('shows control characters instead of sending them to the terminal', () => {
    expect(printable('a\x1b[31mb\nc')).toBe('a\\x1b[31mb\\x0ac');
    expect(printable('a\nb\tc\x07', { lines: true })).toBe('a\nb\tc\\x07');
  });

  it('aligns columns by their width on the screen', () => {
    const columns = [
      { title: 'NAME', value: (row: { n: string; c: number }) => row.n },
      { title: 'COUNT', value: (row: { n: string; c: number }) => row.c, right: true },
    ];
    const plain = { bold: (text: string | number | null | undefined) => String(text) };
    expect(
      draw(
        [
          { n: '昆布', c: 5 },
          { n: 'abcde', c: 1000 },
        ],
        columns,
        plain,
      ),
    ).toBe('NAME   COUNT\n昆布       5\nabcde   1000');
  });

  it('warns once, with their number, of what happens to many messages', () => {
    let written = '';
    const stderr = { write: (text: string | Uint8Array) => (written += String(text)) };
    const out = new Output({ write: () => true }, stderr, { json: false, environment: {} });
    const late = (count: number) => `${count} came late`;
    for (let i = 0; i < 3; i++) out.warnOfOne(late);
    out.warnOfAll();
    out.warnOfAll();
    expect(written).toBe('warning: 3 came late\n');
  });

  it('writes bytes and big integers as JSON can hold them', () => {
    expect(toJson({ a: 1n, b: Buffer.from('hi'), c: new Uint8Array([1]), d: new Error('no') })).toBe(
      '{"a":"1","b":"aGk=","c":"AQ==","d":"no"}',
    );
  });

  it('tells times for people', () => {
    expect([0.4567, 3.21, 42.4, 1500].map(time)).toEqual(['0.46 ms', '3.2 ms', '42 ms', '1.5 s']);
  });
});
