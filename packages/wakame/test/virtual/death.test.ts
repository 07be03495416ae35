import { describe, expect, test } from 'vitest';
import { type DeathReason, deadLetter, isCycle } from '../../src/transports/virtual/dead-letters/death.js';
import type { StoredMessage } from '../../src/transports/virtual/driver.js';

const NOW = new Date('2026-11-20T10:00:00.789Z');
const policy = { exchange: 'dlx', routingKey: undefined };

const stored = (properties: StoredMessage['properties'] = {}): StoredMessage => ({
  body: Buffer.from('x'),
  properties,
  exchange: 'ex',
  routingKey: 'rk',
});

/** Dies in each queue for each reason, one after another, published to the name of the next queue by the default exchange. */
const dies = (...deaths: [string, DeathReason][]): StoredMessage =>
  deaths.reduce(
    (message, [queue, reason]) => deadLetter(message, queue, reason, { exchange: '', routingKey: 'next' }, NOW),
    stored(),
  );

describe('the headers of a dead letter, as RabbitMQ writes them', () => {
  test('a first death', () => {
    const dead = deadLetter(stored({ headers: { own: 1 } }), 'q', 'rejected', policy, NOW);
    expect(dead.exchange).toBe('dlx');
    expect(dead.routingKey).toBe('rk');
    expect(dead.properties.headers).toEqual({
      own: 1,
      'x-first-death-exchange': 'ex',
      'x-first-death-queue': 'q',
      'x-first-death-reason': 'rejected',
      'x-last-death-exchange': 'ex',
      'x-last-death-queue': 'q',
      'x-last-death-reason': 'rejected',
      'x-death': [
        {
          count: 1,
          reason: 'rejected',
          queue: 'q',
          time: new Date('2026-11-20T10:00:00Z'),
          exchange: 'ex',
          'routing-keys': ['rk'],
        },
      ],
    });
  });

  test('its own expiration is taken off and noted', () => {
    const dead = deadLetter(stored({ expiration: '1500', priority: 3 }), 'q', 'expired', policy, NOW);
    expect(dead.properties).not.toHaveProperty('expiration');
    expect(dead.properties.priority).toBe(3);
    expect(dead.properties.headers?.['x-death']).toMatchObject([{ 'original-expiration': '1500' }]);
  });

  test('the policy may give another routing key', () => {
    const dead = deadLetter(stored(), 'q', 'maxlen', { exchange: '', routingKey: 'graves' }, NOW);
    expect(dead.routingKey).toBe('graves');
    expect(dead.properties.headers?.['x-death']).toMatchObject([{ 'routing-keys': ['rk'] }]);
  });

  test('deaths in several queues: the latest first, one table for each queue and reason, counted', () => {
    const dead = dies(['a', 'rejected'], ['b', 'expired'], ['a', 'rejected'], ['a', 'maxlen']);
    expect(dead.properties.headers?.['x-death']).toMatchObject([
      { queue: 'a', reason: 'maxlen', count: 1 },
      { queue: 'a', reason: 'rejected', count: 2, exchange: 'ex' },
      { queue: 'b', reason: 'expired', count: 1, exchange: '' },
    ]);
    expect(dead.properties.headers).toMatchObject({
      'x-first-death-queue': 'a',
      'x-first-death-reason': 'rejected',
      'x-last-death-queue': 'a',
      'x-last-death-reason': 'maxlen',
    });
  });

  test('the original is left as it was', () => {
    const original = stored({ headers: { own: 1 } });
    deadLetter(original, 'q', 'rejected', policy, NOW);
    expect(original.properties).toEqual({ headers: { own: 1 } });
  });

  test.each([['text'], [5], [{}], [[null, 'x', 7]], [[{ count: 'many', queue: 'q', reason: 'rejected' }]]])(
    'an x-death that somebody made up is no obstacle: %j',
    (made) => {
      const dead = deadLetter(stored({ headers: { 'x-death': made } }), 'q', 'rejected', policy, NOW);
      expect(dead.properties.headers?.['x-death']).toMatchObject([{ queue: 'q', reason: 'rejected', count: 1 }]);
    },
  );
});

describe('cycles', () => {
  test('back to a queue where it died by itself before: ends', () => {
    expect(isCycle(dies(['a', 'expired'], ['b', 'expired']), 'a', 'expired')).toBe(true);
    expect(isCycle(dies(['a', 'expired']), 'a', 'expired')).toBe(true);
  });

  test('to a queue where it never died: goes on', () => {
    expect(isCycle(dies(['a', 'expired'], ['b', 'expired']), 'c', 'expired')).toBe(false);
  });

  test('somebody rejected it on the way: goes on', () => {
    expect(isCycle(dies(['a', 'expired'], ['b', 'rejected']), 'a', 'expired')).toBe(false);
    expect(isCycle(dies(['a', 'rejected'], ['b', 'expired']), 'a', 'expired')).toBe(false);
    expect(isCycle(dies(['a', 'expired'], ['b', 'expired']), 'a', 'rejected')).toBe(false);
  });

  test('a rejection before the cycle began does not count', () => {
    expect(isCycle(dies(['z', 'rejected'], ['a', 'expired'], ['b', 'maxlen']), 'a', 'maxlen')).toBe(true);
  });
});
