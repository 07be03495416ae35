import { describe, expect, test } from 'vitest';
import { queueDifference, queueOptions } from '../../src/transports/virtual/queue-arguments.js';

const options = (args: Record<string, unknown>) => queueOptions('q', '/', { arguments: args }, 'me');

describe('queueOptions', () => {
  test('reads what the arguments say', () => {
    expect(
      queueOptions(
        'q',
        '/',
        {
          durable: true,
          exclusive: true,
          autoDelete: true,
          arguments: {
            'x-message-ttl': 1000,
            'x-expires': 60000n,
            'x-max-length': 5,
            'x-max-length-bytes': 500,
            'x-max-priority': 9,
            'x-overflow': 'reject-publish',
            'x-single-active-consumer': true,
            'x-dead-letter-exchange': '',
            'x-other': 'kept',
          },
        },
        'me',
      ),
    ).toMatchObject({
      durable: true,
      exclusiveTo: 'me',
      autoDelete: true,
      messageTtl: 1000,
      expires: 60000,
      maxLength: 5,
      maxLengthBytes: 500,
      maxPriority: 9,
      overflow: 'reject-publish',
      singleActiveConsumer: true,
      deadLetter: true,
      arguments: { 'x-other': 'kept' },
    });
  });

  test.each([
    ['x-message-ttl', -1],
    ['x-message-ttl', '1000'],
    ['x-message-ttl', 1.5],
    ['x-expires', 0],
    ['x-max-length', -1],
    ['x-max-priority', 256],
    ['x-overflow', 'drop-tail'],
    ['x-dead-letter-exchange', 5],
    ['x-single-active-consumer', 'yes'],
    ['x-queue-type', 'other'],
    ['x-delivery-limit', -1],
  ])('refuses %s = %j, naming it', (key, value) => {
    expect(() => options({ [key]: value })).toThrow(expect.objectContaining({ code: 'PRECONDITION_FAILED' }));
    expect(() => options({ [key]: value })).toThrow(key);
  });

  test('a dead-letter routing key needs an exchange', () => {
    expect(() => options({ 'x-dead-letter-routing-key': 'k' })).toThrow('x-dead-letter-exchange');
  });

  test('streams are refused', () => {
    expect(() => options({ 'x-queue-type': 'stream' })).toThrow(expect.objectContaining({ code: 'NOT_SUPPORTED' }));
  });
});

describe('queueDifference', () => {
  const difference = (a: Record<string, unknown>, b: Record<string, unknown>) =>
    queueDifference('q', '/', options(a), options(b))?.message;

  test('names the setting and both values', () => {
    expect(difference({ 'x-message-ttl': 1 }, { 'x-message-ttl': 2 })).toBe(
      "406 PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received '1' but current is '2'",
    );
    expect(difference({}, { 'x-expires': 5 })).toContain("received none but current is '5'");
    expect(queueDifference('q', '/', queueOptions('q', '/', { durable: true }, 'me'), options({}))?.message).toContain(
      "inequivalent arg 'durable'",
    );
  });

  test('the same value as another kind of number is no difference, nor an argument that nobody knows', () => {
    expect(difference({ 'x-message-ttl': 1 }, { 'x-message-ttl': 1n })).toBeUndefined();
    expect(difference({ 'x-mine': 1 }, { 'x-mine': 2 })).toBeUndefined();
  });
});
