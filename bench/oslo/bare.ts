/** The limit: a message to a server's queue, and one back, by the AMQP client alone. No RPC, no envelope; nothing is confirmed or declared again. */
import { connect } from '@wakame/amqp';
import { deferred } from 'wakame/util';
import type { RpcParticipant } from './protocol.ts';

type Answer = ReturnType<typeof deferred<string>>;

export const bare: RpcParticipant = {
  async serve(url, topic) {
    const connection = await connect(url);
    const [requests, answers] = [await connection.channel(), await connection.channel()];
    await requests.queueDeclare(topic, { durable: false, autoDelete: true });
    await requests.basicConsume(topic, {}, ({ deliveryTag, properties, body }) => {
      requests.basicAck(deliveryTag);
      const { correlationId } = properties;
      void answers.basicPublish('', properties.replyTo ?? '', body, { correlationId, deliveryMode: 2 });
    });
  },

  async client(url, topic) {
    const connection = await connect(url);
    const [requests, answers] = [await connection.channel(), await connection.channel()];
    const { queue: replyTo } = await answers.queueDeclare('', { exclusive: true, durable: false });
    const waiting = new Map<string, Answer>();
    await answers.basicConsume(replyTo, {}, ({ deliveryTag, properties, body }) => {
      answers.basicAck(deliveryTag);
      const id = properties.correlationId ?? '';
      waiting.get(id)?.resolve(body.toString());
      waiting.delete(id);
    });
    let calls = 0;
    return {
      echo(value) {
        const correlationId = String(++calls);
        const answer = deferred<string>();
        waiting.set(correlationId, answer);
        void requests.basicPublish('', topic, Buffer.from(value), { correlationId, replyTo, deliveryMode: 2 });
        return answer.promise;
      },
    };
  },
};
