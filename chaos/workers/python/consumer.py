"""Consumes a queue with Kombu, and writes down each delivery and each ack."""

import random
import socket
import time

from kombu import Connection, Queue

from worker import last_call, padding, record, say, task, watch_memory, write

# On Redis, Kombu takes a message and records it in two steps. A BRPOP that is under way when the consumer stops ends within this many seconds.
LAST_POLL = 2.5
# Where Kombu asks again and again, seconds between two questions to an empty queue: seldom, and the others leave it nothing.
PAUSE = 0.05

told = last_call()
watch_memory()
work = random.Random(task['seed'])
deliveries = 0


def handle(body, message):
    global deliveries
    queue = task['queue']['name']
    if not isinstance(body, dict) or body.get('padding') != padding(body.get('number', -1)):
        write(record('damaged', queue=queue, text=repr(body)[:200]))
        message.ack()
        return
    deliveries += 1
    delivery = deliveries
    # Elsewhere than on Redis Kombu does not tell.
    redelivered = bool(message.delivery_info.get('redelivered')) if on_redis(message.channel.connection) else None
    write(record('delivered', queue=queue, delivery=delivery, producer=body['producer'], number=body['number'],
                 redelivered=redelivered))
    if work.random() < 0.1:
        time.sleep(work.uniform(0.001, 0.02))
    message.ack()
    write(record('acked', delivery=delivery, live=True))


def on_redis(transport):
    return transport.driver_type == 'redis'


def drain(connection, seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            connection.drain_events(timeout=0.2)
        except socket.timeout:
            pass


def run():
    with Connection(task['url'], transport_options=task['options'].get('transportOptions') or {}) as connection:
        connection.ensure_connection(interval_start=0.2, interval_step=0.2, interval_max=1, max_retries=5)
        if not on_redis(connection.transport):
            connection.transport.polling_interval = PAUSE
        name = task['queue']['name']
        consumer = connection.Consumer([Queue(name, routing_key=name)], callbacks=[handle],
                                       prefetch_count=task['prefetch'])
        consumer.consume()
        write(record('ready'))
        while not told.is_set():
            drain(connection, 0.2)
        consumer.cancel()
        if on_redis(connection.transport):
            drain(connection, LAST_POLL)


while not told.is_set():
    try:
        run()
    except Exception as error:
        say(f'{type(error).__name__}: {error}')
        time.sleep(0.3)
write(record('finished'))
