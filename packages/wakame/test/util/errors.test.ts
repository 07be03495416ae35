import { describe, expect, test } from 'vitest';
import {
  ConnectionError,
  ContentDisallowed,
  DecodeError,
  Empty,
  HttpError,
  InconsistencyError,
  isRecoverable,
  KombuError,
  MessagingError,
  MissingDependencyError,
  NotFound,
  OperationalError,
  RecoverableConnectionError,
  SerializationError,
  SerializerNotInstalled,
  TimeoutError,
} from '../../src/errors.js';

test('one tree, in which every error is a KombuError', () => {
  for (const error of [
    new Empty('x'),
    new DecodeError('x'),
    new NotFound('x'),
    new InconsistencyError('x'),
    new HttpError(500, 'x'),
  ]) {
    expect(error).toBeInstanceOf(KombuError);
    expect(error).toBeInstanceOf(MessagingError);
    expect(error.name).toBe(error.constructor.name);
  }
  expect(new DecodeError('x')).toBeInstanceOf(SerializationError);
  expect(new ContentDisallowed('x')).toBeInstanceOf(SerializerNotInstalled);
  expect(new InconsistencyError('x')).toBeInstanceOf(ConnectionError);
});

describe('OperationalError', () => {
  test('says what the error that it wraps said', () => {
    const cause = new NotFound('404 no queue', {
      replyCode: 404,
      method: 'queue.declare',
      host: 'h:1',
      outcome: 'refused',
    });
    const wrapped = OperationalError.from(cause);
    expect(wrapped).toMatchObject({
      message: '404 no queue',
      cause,
      code: 'NOT_FOUND',
      recoverable: false,
      replyCode: 404,
      method: 'queue.declare',
      host: 'h:1',
      outcome: 'refused',
    });
    expect(OperationalError.from(wrapped)).toBe(wrapped);
  });

  test('wraps anything', () => {
    const cause = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
    expect(OperationalError.from(cause)).toMatchObject({ cause, code: 'CONNECTION_LOST', recoverable: true });
    expect(OperationalError.from('text').message).toBe('text');
  });
});

test('recoverable is what the error says, or what its system code means', () => {
  const system = (code: unknown) => Object.assign(new Error('x'), { code });
  const recoverable = [
    new RecoverableConnectionError('x'),
    new TimeoutError('x'),
    system('ECONNRESET'),
    system('EAI_AGAIN'),
  ];
  const not = [
    new NotFound('x'),
    new TypeError('x'),
    system('EACCES'),
    system(5),
    'ECONNRESET',
    undefined,
    new DOMException('x', 'AbortError'),
  ];
  expect([recoverable.map(isRecoverable), not.map(isRecoverable)]).toEqual([
    recoverable.map(() => true),
    not.map(() => false),
  ]);
});

test('a missing package is named, and how to get it', () => {
  const error = new MissingDependencyError('the redis transport', 'ioredis', 'or hand one in');
  expect(error).toMatchObject({ code: 'MISSING_DEPENDENCY', package: 'ioredis' });
  expect(error.message).toBe("the redis transport needs the package 'ioredis': npm install ioredis (or hand one in)");
});

test.each([
  [401, 'AUTH_FAILED', false],
  [403, 'ACCESS_REFUSED', false],
  [404, 'NOT_FOUND', false],
  [400, 'PRECONDITION_FAILED', false],
  [503, 'PROTOCOL_ERROR', true],
])('HTTP %i is %s', (status, code, recoverable) => {
  expect(new HttpError(status, 'no', 'body')).toMatchObject({
    status,
    code,
    recoverable,
    response: 'body',
    message: `HTTP ${status}: no`,
  });
});
