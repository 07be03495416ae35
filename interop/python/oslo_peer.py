"""oslo.messaging, told what to do line by line: RPC clients and servers, notifiers and listeners."""

import os
import tempfile
import threading
import time

# Its queue manager wants a place for locks.
os.environ.setdefault('OSLO_LOCK_PATH', tempfile.gettempdir())

import oslo_messaging
from oslo_config import cfg
from oslo_messaging.rpc import dispatcher

from lines import serve


class Unlucky(Exception):
    """Of a module that a client may allow."""


class MathEndpoint:
    target = oslo_messaging.Target(version='1.3')

    def __init__(self, name, seen):
        self.name = name
        self.seen = seen
        self.gate = threading.Event()

    def add(self, context, a, b):
        return a + b

    def echo(self, context, value):
        return value

    def context(self, context):
        return context

    def who(self, context):
        return self.name

    def note(self, context, value):
        self.seen.append(value)

    def divide(self, context, a, b):
        return a // b

    def unlucky(self, context):
        raise Unlucky('no luck')

    def refuse(self, context):
        raise ValueError('not this', 7)

    def slow(self, context):
        self.gate.wait(15)
        return 'done'

    def work(self, context, value, seconds):
        time.sleep(seconds)
        return value

    def held(self, context, value):
        """Counts those that are at work, and keeps them there."""
        self.seen.append(value)
        self.gate.wait(60)
        return value


class Spaced:
    target = oslo_messaging.Target(namespace='space', version='2.5')

    def where(self, context):
        return 'in space'


class Heard:
    """A notification endpoint that keeps what it hears."""

    def __init__(self, seen, requeue=0):
        self.seen = seen
        self.requeue = requeue

    def _note(self, priority, context, publisher_id, event_type, payload, metadata):
        if self.requeue > 0:
            self.requeue -= 1
            return oslo_messaging.NotificationResult.REQUEUE
        note = {'priority': priority, 'context': dict(context), 'publisher_id': publisher_id}
        self.seen.append({**note, 'event_type': event_type, 'payload': payload, 'metadata': metadata})

    def info(self, *args):
        return self._note('info', *args)

    def error(self, *args):
        return self._note('error', *args)


class HeardTogether:
    def __init__(self, seen):
        self.seen = seen

    def info(self, messages):
        self.seen.append([message['payload'] for message in messages])


class Peer:
    def __init__(self):
        self.servers = {}
        self.transports = {}
        self.seen = []
        self.endpoints = {}

    def open(self, url, options=None, allowed=()):
        # Some of its options are only ever registered with the configuration of the process.
        conf = cfg.CONF
        conf([], project='interop')
        self.transports[None] = oslo_messaging.get_rpc_transport(conf, url=url, allowed_remote_exmods=list(allowed))
        self.notifications = oslo_messaging.get_notification_transport(conf, url=url)
        for group, values in (options or {}).items():
            for name, value in values.items():
                conf.set_override(name, value, group=None if group == 'DEFAULT' else group)

    def also(self, bus, url):
        """A further transport, with what its URL's query says."""
        self.transports[bus] = oslo_messaging.get_rpc_transport(cfg.CONF, url=url)

    def serve(self, topic, server, exchange=None, bus=None):
        target = oslo_messaging.Target(topic=topic, server=server, exchange=exchange)
        endpoint = MathEndpoint(server, self.seen)
        self.endpoints[server] = endpoint
        access = dispatcher.DefaultRPCAccessPolicy
        rpc = oslo_messaging.get_rpc_server(
            self.transports[bus], target, [endpoint, Spaced()], executor='threading', access_policy=access
        )
        rpc.start()
        self.servers[server] = rpc

    def stop(self, server):
        rpc = self.servers.pop(server)
        rpc.stop()
        rpc.wait()

    def release(self, server):
        self.endpoints[server].gate.set()

    def hold(self, server):
        self.endpoints[server].gate.clear()

    def received(self):
        return self.seen

    def client(self, topic, timeout=10, monitor=None, cap=None, at_least_once=False, bus=None, **target):
        options = {'timeout': timeout, 'version_cap': cap, 'call_monitor_timeout': monitor}
        if at_least_once:
            options['transport_options'] = oslo_messaging.TransportOptions(at_least_once=True)
        target = oslo_messaging.Target(topic=topic, **target)
        make = getattr(oslo_messaging, 'get_rpc_client', oslo_messaging.RPCClient)
        return make(self.transports[bus], target, **options)

    def call(self, topic, method, args=None, context=None, **options):
        return self.client(topic, **options).call(context or {}, method, **(args or {}))

    def cast(self, topic, method, args=None, context=None, fanout=None, **options):
        client = self.client(topic, **options)
        if fanout:
            client = client.prepare(fanout=True)
        client.cast(context or {}, method, **(args or {}))

    def failure(self, topic, method, args=None, **options):
        """What a call raises: the names of its class and module, its words, and whether a class is among its own."""
        try:
            result = self.call(topic, method, args, **options)
        except Exception as error:
            return {
                'class': type(error).__name__,
                'module': type(error).__module__,
                'bases': [base.__name__ for base in type(error).__mro__],
                'text': str(error),
                'exc_type': getattr(error, 'exc_type', None),
                'value': getattr(error, 'value', None),
            }
        return {'result': result}

    def calls(self, topic, count, **options):
        """Many calls from many threads: how many got another's answer, or none."""
        client = self.client(topic, **options)
        wrong = []

        def one(number):
            answer = client.call({}, 'add', a=number, b=number)
            if answer != 2 * number:
                wrong.append(number)

        threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return wrong

    def begin(self, topic, method, count, first=0, lanes=None, timeout=30, args=None):
        """Calls with `count` numbers, from so many threads, or from one each; `ends` waits for them."""
        client = self.client(topic, timeout=timeout)
        numbers = iter(range(first, first + count))
        lock = threading.Lock()
        ends = self.outcomes = []

        def one(number):
            try:
                answer = client.call({}, method, value=number, **(args or {}))
                return 'own' if answer == number else 'wrong'
            except oslo_messaging.MessagingTimeout:
                return 'timeout'
            except Exception as error:
                return repr(error)

        def lane():
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                ends.append(one(number))

        self.threads = [threading.Thread(target=lane) for _ in range(lanes or count)]
        for thread in self.threads:
            thread.start()

    def ends(self):
        for thread in self.threads:
            thread.join()
        return self.outcomes

    def reply_queue(self):
        return self.transports[None]._driver._reply_q

    def notify(self, topics, event_type, payload, priority='info', driver='messagingv2', context=None):
        notifier = oslo_messaging.Notifier(self.notifications, 'python.interop', driver=driver, topics=topics)
        getattr(notifier, priority)(context or {}, event_type, payload)

    def listen(self, name, topics, pool=None, requeue=0, batch=None):
        targets = [oslo_messaging.Target(topic=topic) for topic in topics]
        options = {'executor': 'threading', 'allow_requeue': requeue > 0, 'pool': pool}
        if batch is None:
            endpoints = [Heard(self.seen, requeue)]
            listener = oslo_messaging.get_notification_listener(self.notifications, targets, endpoints, **options)
        else:
            listener = oslo_messaging.get_batch_notification_listener(
                self.notifications, targets, [HeardTogether(self.seen)], batch_size=batch, batch_timeout=5, **options
            )
        listener.start()
        self.servers[name] = listener

    def close(self):
        for name in list(self.servers):
            self.stop(name)
        for transport in self.transports.values():
            transport.cleanup()
        self.notifications.cleanup()


if __name__ == '__main__':
    # The queue manager of oslo.messaging looks for the leader of the process group under /proc, and fails when that has ended.
    os.setpgrp()
    serve(Peer())
