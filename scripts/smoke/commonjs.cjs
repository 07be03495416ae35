// A program of a user, as a CommonJS module: node commonjs.cjs URL…
const assert = require('node:assert/strict');
const { connect } = require('@wakame/amqp');
const { MessagingError } = require('@wakame/amqp/errors');
const { MessagingTimeout } = require('@wakame/oslo');
const wakame = require('wakame');

assert.equal(typeof connect, 'function');
assert.equal(MessagingError, wakame.MessagingError);
assert.ok(MessagingTimeout.prototype instanceof MessagingError);

async function job(url) {
  const connection = new wakame.Connection(url);
  const queue = connection.simpleQueue('smoke.commonjs');
  await queue.put({ text: 'grüß Gott' });
  const message = await queue.get({ timeout: 5000 });
  assert.deepEqual(message.payload, { text: 'grüß Gott' });
  await message.ack();
  await queue.close();
  await connection.close();
}

async function main() {
  for (const url of process.argv.slice(2)) await job(url);
}

void main();
