"""Services of OpenStack's Mitaka release as they are on the wire, scripted with Kombu.

oslo.messaging of that time (5.x and before) needs a Python that is gone. What differs from today's: answers go to an exchange of the
reply queue's name, which has to be there, and which the caller has declared; a call has no `_timeout`.
"""

import json
import socket
import threading
import time
import uuid

from kombu import Connection, Exchange, Producer, Queue
from kombu.mixins import ConsumerMixin

from lines import serve

TTL = {'x-expires': 60000}


def seal(message):
    message['_unique_id'] = uuid.uuid4().hex
    return {'oslo.version': '2.0', 'oslo.message': json.dumps(message)}


def unseal(body):
    return json.loads(body['oslo.message']) if 'oslo.message' in body else body


def topic_exchange():
    return Exchange('openstack', type='topic', durable=False, auto_delete=True)


def topic_queue(name, key):
    return Queue(name, exchange=topic_exchange(), routing_key=key, durable=False, auto_delete=True)


def fanout_exchange(topic):
    return Exchange(topic + '_fanout', type='fanout', durable=False, auto_delete=True)


def reply_exchange(name, passive):
    return Exchange(name, type='direct', durable=False, auto_delete=True, passive=passive)


class Listener(ConsumerMixin):
    def __init__(self, url, queues, callback):
        self.connection = Connection(url)
        self.queues = queues
        self.callback = callback
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        self.ready.wait(10)

    def get_consumers(self, consumer, channel):
        return [consumer(self.queues, on_message=self.callback, accept=['json'])]

    def on_consume_ready(self, connection, channel, consumers, **kwargs):
        self.ready.set()

    def stop(self):
        self.should_stop = True
        self.thread.join()
        self.connection.release()


class Peer:
    def __init__(self):
        self.listeners = {}
        self.seen = []

    def open(self, url):
        self.url = url

    def serve(self, topic, server, two_parts=False):
        """Two parts: servers before Liberty send the result and the end of the answer one by one."""

        def received(message):
            message.ack()
            request = unseal(message.payload)
            context = {key[9:]: value for key, value in request.items() if key.startswith('_context_')}
            answer = {'result': None, 'failure': None}
            try:
                answer['result'] = getattr(self, 'do_' + request['method'])(context, server, **request['args'])
            except Exception as error:
                answer['failure'] = json.dumps({
                    'class': type(error).__name__, 'module': 'exceptions', 'message': str(error), 'tb': [],
                    'args': list(error.args), 'kwargs': {},
                })
            if '_msg_id' not in request:
                return
            answer['_msg_id'] = request['_msg_id']
            if two_parts:
                self.direct_send(request['_reply_q'], seal(dict(answer, ending=False)))
                answer = {'result': None, 'failure': None, '_msg_id': request['_msg_id']}
            self.direct_send(request['_reply_q'], seal(dict(answer, ending=True)))

        fanout = '{}_fanout_{}'.format(topic, uuid.uuid4().hex)
        queues = [topic_queue(name, name) for name in (topic, topic + '.' + server)]
        queues.append(Queue(fanout, exchange=fanout_exchange(topic), routing_key=topic, durable=False,
                            auto_delete=False, queue_arguments=TTL))
        self.listeners[server] = Listener(self.url, queues, received)

    def direct_send(self, name, body):
        """To the exchange of that name, which must be there; looks again for a while when it is not."""
        deadline = time.monotonic() + 10
        while True:
            with Connection(self.url, transport_options={'confirm_publish': True}) as connection:
                try:
                    reply_exchange(name, passive=True)(connection.default_channel).declare()
                    Producer(connection).publish(body, exchange=name, routing_key=name)
                    return
                except connection.channel_errors as error:
                    if error.code != 404 or time.monotonic() > deadline:
                        raise
            time.sleep(0.25)

    def do_add(self, context, server, a, b):
        return a + b

    def do_echo(self, context, server, value):
        return value

    def do_context(self, context, server):
        return context

    def do_who(self, context, server):
        return server

    def do_note(self, context, server, value):
        self.seen.append(value)

    def do_refuse(self, context, server):
        raise ValueError('not this', 7)

    def do_slow(self, context, server, seconds):
        time.sleep(seconds)
        return 'done'

    def received(self):
        return self.seen

    def publish(self, exchange, key, message, expiration=None):
        with Connection(self.url, transport_options={'confirm_publish': True}) as connection:
            producer = Producer(connection, exchange=exchange, routing_key=key)
            producer.publish(seal(message), expiration=expiration)

    def request(self, method, args, context):
        message = {'method': method, 'args': args or {}, 'version': '1.0', 'namespace': None}
        message.update(('_context_' + key, value) for key, value in (context or {}).items())
        return message

    def call(self, topic, method, args=None, context=None, server=None, timeout=10):
        name = 'reply_' + uuid.uuid4().hex
        message = self.request(method, args, context)
        message.update(_msg_id=uuid.uuid4().hex, _reply_q=name)
        answers = []
        queue = Queue(name, exchange=reply_exchange(name, passive=False), routing_key=name, durable=False,
                      auto_delete=False, queue_arguments=TTL)

        def answered(answer):
            answer.ack()
            answers.append(unseal(answer.payload))

        with Connection(self.url) as connection:
            with connection.Consumer([queue], on_message=answered, accept=['json']):
                key = topic if server is None else topic + '.' + server
                self.publish(topic_exchange(), key, message, expiration=timeout)
                deadline = time.monotonic() + timeout
                while not answers or not answers[-1].get('ending'):
                    try:
                        connection.drain_events(timeout=max(0.01, deadline - time.monotonic()))
                    except socket.timeout:
                        raise RuntimeError('MessagingTimeout')
            queue(connection).delete()
        answer = answers[-1]
        if answer['failure']:
            return {'failure': json.loads(answer['failure'])}
        return {'result': answer['result']}

    def cast(self, topic, method, args=None, context=None, server=None, fanout=False):
        message = self.request(method, args, context)
        if fanout:
            self.publish(fanout_exchange(topic), '', message)
        else:
            self.publish(topic_exchange(), topic if server is None else topic + '.' + server, message)

    def notify(self, topic, event_type, payload):
        """As its `messaging` driver: no envelope, and a queue declared for those who will listen."""
        key = topic + '.info'
        message = {'message_id': str(uuid.uuid4()), 'publisher_id': 'mitaka', 'event_type': event_type, 'priority': 'INFO',
                   'payload': payload, 'timestamp': '2016-04-07 12:00:00.000000', '_unique_id': uuid.uuid4().hex}
        with Connection(self.url, transport_options={'confirm_publish': True}) as connection:
            topic_queue(key, key)(connection).declare()
            Producer(connection).publish(message, exchange='openstack', routing_key=key)

    def listen(self, name, topic):
        def heard(message):
            self.seen.append(unseal(message.payload)['event_type'])
            message.ack()

        self.listeners[name] = Listener(self.url, [topic_queue(topic + '.info', topic + '.info')], heard)

    def stop(self, server):
        self.listeners.pop(server).stop()

    def close(self):
        for name in list(self.listeners):
            self.stop(name)


if __name__ == '__main__':
    serve(Peer())
