"""The Python counterpart of the interop tests: Kombu, told what to do line by line.

Bodies, headers and properties go through values.py.
"""

import itertools
import socket
import sys
import time

import amqp
import kombu
from kombu import Connection, Consumer, Exchange, Producer, Queue, pidbox

from lines import serve
from values import pack, unpack

class Peer:
    def __init__(self):
        self.connection = None
        self.channel = None
        self.simple = {}
        self.consumers = {}
        self.messages = {}
        self.ids = itertools.count(1)

    # -- the connection

    def open(self, url, options=None):
        # A publish ends when the broker has the message, so that whoever is told next finds it there. SQLAlchemy would not know the option.
        confirmed = {} if url.startswith('sqla+') else {'confirm_publish': True}
        self.connection = Connection(url, transport_options={**confirmed, **(options or {})})
        self.connection.connect()
        self.channel = self.connection.channel()
        return {'kombu': kombu.__version__, 'amqp': amqp.__version__, 'python': sys.version.split()[0]}

    def close(self):
        self.simple.clear()
        self.consumers.clear()
        self.messages.clear()
        self.connection.release()
        self.connection = None

    # -- entities

    def exchange(self, name='', **options):
        return Exchange(name, **options)

    def queue(self, name, exchange=None, binding_arguments=None, **options):
        if exchange is not None:
            options['exchange'] = self.exchange(**exchange)
        return Queue(name, binding_arguments=binding_arguments, **options)

    def declare(self, queue):
        bound = self.queue(**queue)(self.channel)
        return bound.declare()

    def declare_exchange(self, exchange):
        self.exchange(**exchange)(self.channel).declare()

    def size(self, queue):
        with self.connection.channel() as channel:
            return Queue(queue)(channel).queue_declare(passive=True).message_count

    def purge(self, queue):
        return Queue(queue)(self.channel).purge()

    def delete(self, queue=None, exchange=None):
        if queue is not None:
            Queue(queue)(self.channel).delete()
        if exchange is not None:
            Exchange(exchange)(self.channel).delete()

    # -- publishing

    def publish(self, body, exchange=None, routing_key='', headers=None, queue=None, **options):
        """Gives what came back because it reached no queue."""
        returned = []
        declare = [self.queue(**queue)] if queue is not None else []
        if exchange is not None:
            options['exchange'] = self.exchange(**exchange)
            declare.append(options['exchange'])
        with self.connection.channel() as channel:
            producer = Producer(channel)
            if options.get('mandatory'):
                producer.on_return = lambda error, name, key, message: returned.append(
                    {'code': error.reply_code, 'exchange': name, 'routing_key': key})
                producer.revive(channel)
            producer.publish(
                unpack(body), routing_key=routing_key, headers=unpack(headers) if headers is not None else None,
                declare=declare, **options)
        if self.connection.transport.driver_type == 'filesystem':
            # Kombu's names of files tell the millisecond. The messages of one have no order.
            time.sleep(0.002)
        return returned

    # -- delayed delivery by RabbitMQ itself, as Celery uses it

    def delay_topology(self, queue):
        """What a Celery worker declares for a queue of type quorum."""
        from kombu.transport import native_delayed_delivery as delayed
        bound = self.queue(**queue)
        bound(self.channel).declare()
        delayed.declare_native_delayed_delivery_exchanges_and_queues(self.connection, 'quorum')
        delayed.bind_queue_to_native_delayed_delivery_exchange(self.connection, bound)

    def publish_delayed(self, body, seconds, routing_key, **options):
        from kombu.transport import native_delayed_delivery as delayed
        return self.publish(
            body, exchange={'name': 'celery_delayed_27', 'type': 'topic', 'no_declare': True},
            routing_key=delayed.calculate_routing_key(seconds, routing_key), **options)

    # -- receiving

    def shown(self, message, settled=False):
        try:
            body = pack(message.decode())
        except Exception as error:
            body = {'error': type(error).__name__}
        tag = None
        if not settled:
            tag = next(self.ids)
            self.messages[tag] = message
        # py-amqp has the headers of a message among its properties.
        properties = {name: value for name, value in message.properties.items()
                      if name not in ('application_headers', 'delivery_info', 'body_encoding', 'delivery_tag')}
        return {
            'tag': tag,
            'body': body,
            'content_type': message.content_type,
            'content_encoding': message.content_encoding,
            'headers': pack(message.headers),
            'properties': pack(properties),
            'exchange': message.delivery_info.get('exchange'),
            'routing_key': message.delivery_info.get('routing_key'),
            'redelivered': bool(message.delivery_info.get('redelivered')),
        }

    def consume(self, queue, accept=None, prefetch=None, no_ack=False):
        """Starts a consumer; `next` gives its messages."""
        channel = self.connection.channel()
        received = []
        queues = [self.queue(**queue)]
        consumer = Consumer(channel, queues, accept=accept, no_ack=no_ack, prefetch_count=prefetch,
                            on_message=received.append, tag_prefix='peer')
        consumer.consume()
        if any(queue.exchange and queue.exchange.type == 'fanout' for queue in queues):
            self.settle_in()
        tag = next(self.ids)
        self.consumers[tag] = (consumer, received, no_ack)
        return tag

    def settle_in(self):
        """On Redis, Kombu subscribes to fanout exchanges when it next waits for events."""
        if self.connection.transport.driver_type == 'redis':
            for _ in range(2):
                try:
                    self.connection.drain_events(timeout=0.05)
                except socket.timeout:
                    pass

    def next(self, consumer, count=1, timeout=10):
        """The messages that came, `count` of them unless time runs out."""
        _, received, no_ack = self.consumers[consumer]
        deadline = time.monotonic() + timeout
        while len(received) < count:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            try:
                self.connection.drain_events(timeout=min(left, 0.1))
            except socket.timeout:
                pass
        taken, received[:] = received[:count], received[count:]
        return [self.shown(message, settled=no_ack) for message in taken]

    def cancel(self, consumer):
        """Ends a consumer; what it has not settled goes back."""
        entry, _, _ = self.consumers.pop(consumer)
        entry.cancel()
        entry.channel.close()

    def take(self, queue, count=1, timeout=10, accept=None):
        """Consumes and acknowledges so many messages."""
        consumer = self.consume({'name': queue, 'no_declare': True} if isinstance(queue, str) else queue, accept=accept)
        messages = self.next(consumer, count, timeout)
        for message in messages:
            self.settle(message['tag'], 'ack')
        self.cancel(consumer)
        return messages

    def get(self, queue, accept=None):
        message = Queue(queue)(self.channel).get(accept=accept)
        return None if message is None else self.shown(message)

    def settle(self, tag, how):
        message = self.messages.pop(tag)
        {'ack': message.ack, 'reject': message.reject, 'requeue': message.requeue}[how]()

    def sweep(self):
        """Kombu's sweep of what was held for longer than this process's visibility timeout, without waiting for its turn."""
        self.channel.qos.restore_visible(num=1000, interval=1)

    # -- SimpleQueue

    def simple_queue(self, name, **options):
        self.simple[name] = self.connection.SimpleQueue(name, **options)

    def simple_put(self, name, body, **options):
        self.simple[name].put(unpack(body), **options)

    def simple_get(self, name, timeout=10):
        message = self.simple[name].get(timeout=timeout)
        shown = self.shown(message)
        self.settle(shown['tag'], 'ack')
        return shown

    def simple_size(self, name):
        return self.simple[name].qsize()

    def simple_clear(self, name):
        return self.simple[name].clear()

    def simple_close(self, name):
        self.simple.pop(name).close()

    # -- mailboxes

    def mailbox(self, namespace, type):
        return pidbox.Mailbox(namespace, type=type)(self.connection)

    def node_listen(self, namespace, type, hostname):
        """Starts a node. It answers while `node_run` does."""
        state = {'handled': [], 'clock': 0}
        mailbox = self.mailbox(namespace, type)
        node = mailbox.Node(hostname, state=state)
        node.channel = self.connection.channel()

        @node.handler
        def echo(state, value=None):
            return value

        @node.handler
        def fail(state, text):
            raise ValueError(text)

        def handle(body, message):
            node.handle_message(body, message)
            state['handled'].append(body['method'])
            state['clock'] = mailbox.clock.value

        consumer = node.listen(callback=handle)
        self.settle_in()
        tag = next(self.ids)
        self.consumers[tag] = (consumer, state, True)
        return tag

    def node_run(self, node, count=1, timeout=10):
        """Lets nodes answer until this one has had `count` commands; gives these, and its clock."""
        _, state, _ = self.consumers[node]
        deadline = time.monotonic() + timeout
        while len(state['handled']) < count and time.monotonic() < deadline:
            try:
                self.connection.drain_events(timeout=0.1)
            except socket.timeout:
                pass
        handled, state['handled'] = state['handled'], []
        return {'handled': handled, 'clock': state['clock']}

    def broadcast(self, namespace, type, command, arguments=None, **options):
        return self.mailbox(namespace, type)._broadcast(command, arguments or {}, **options)


if __name__ == '__main__':
    serve(Peer())
