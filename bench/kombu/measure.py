"""One measurement of Kombu: measure.py <scenario> <url> <warm-up ms> <measure ms> <most>. Prints what measure.ts prints."""
import json
import resource
import sys
import time

from kombu import Connection, Queue

scenario, url, warm_up, measure, most = sys.argv[1:6]
warm_up, measure, most = float(warm_up) / 1000, float(measure) / 1000, float(most)
text = 'x' * 100
small = {'id': 4711, 'name': 'lolcat.avi', 'size': 1301013, 'tags': ['cat', 'funny', 'video'], 'rating': 4.75}


def repeat(step):
    def run(seconds, most):
        end, limit = time.process_time() + seconds, time.perf_counter() + 4 * seconds
        count = 0
        while time.process_time() < end and time.perf_counter() < limit and count < most:
            count += step()
        return count

    before = run(warm_up, most / 2)
    cpu, clock = time.process_time(), time.perf_counter()
    count = run(measure, most - before)
    return {'messages': count, 'seconds': time.perf_counter() - clock, 'cpu': (time.process_time() - cpu) * 1e6}


def enqueue(connection, queue):
    producer = connection.Producer()

    def step():
        for _ in range(64):
            producer.publish(text, routing_key=queue)
        return 64

    return repeat(step)


def take(connection, queue, no_ack=False):
    handled = 0

    def on_message(message):
        nonlocal handled
        handled += 1
        if not no_ack:
            message.ack()

    channel = connection.channel()
    consumer = connection.Consumer(
        [Queue(queue, channel=channel, no_declare=True)], on_message=on_message, prefetch_count=256, no_ack=no_ack,
        auto_declare=False, accept=['json', 'text/plain', 'application/data'])
    with consumer:
        def step():
            nonlocal handled
            before = handled
            while handled < before + 64:
                connection.drain_events(timeout=10)
            return handled - before

        return repeat(step)


def stocked(connection):
    producer = connection.Producer()
    Queue('bench')(connection.default_channel).declare()
    for _ in range(int(most)):
        producer.publish(text, routing_key='bench')
    return take(connection, 'bench')


def memory_cycle(connection):
    producer = connection.Producer()
    queue = Queue('bench')
    handled = 0

    def on_message(message):
        nonlocal handled
        message.payload
        message.ack()
        handled += 1

    with connection.Consumer([queue], on_message=on_message, prefetch_count=256):
        def step():
            nonlocal handled
            handled = 0
            for _ in range(256):
                producer.publish(small, routing_key='bench')
            while handled < 256:
                connection.drain_events(timeout=10)
            return 256

        return repeat(step)


with Connection(url) as connection:
    connection.connect()
    result = {
        'enqueue': lambda: enqueue(connection, 'bench'),
        'take': lambda: stocked(connection),
        'memory-cycle': lambda: memory_cycle(connection),
        'publish-100': lambda: enqueue(connection, 'bench'),
        'consume-ack-100': lambda: take(connection, 'deliver-100'),
    }[scenario]()
result['rss'] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps(result))
