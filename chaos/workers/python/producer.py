"""Publishes numbered messages with Kombu, each once: what fails is told as rejected, its outcome unknown."""

import random
import time

from kombu import Connection, Queue

from worker import by, last_call, padding, record, say, task, watch_memory, write

told = last_call()
watch_memory()
connection = Connection(task['url'], transport_options=task['options'].get('transportOptions') or {})
queues = [Queue(queue['name'], routing_key=queue['name']) for queue in task['queues']]
choose = random.Random(task['seed'])
start = time.monotonic()
number = 0


def publish(producer, queue):
    write(record('publish', queue=queue.name, number=number))
    body = {'producer': by, 'number': number, 'padding': padding(number)}
    try:
        producer.publish(body, routing_key=queue.name, exchange='', declare=[queue], retry=False)
    except Exception as error:
        write(record('rejected', number=number, outcome='unknown', code=type(error).__name__))
        raise
    write(record('confirmed', number=number, attempts=1))
    if connection.transport.driver_type == 'filesystem':
        # Kombu's names of files tell the millisecond. The messages of one have no order.
        time.sleep(0.002)


write(record('ready'))
while not told.is_set():
    try:
        connection.ensure_connection(interval_start=0.2, interval_step=0.2, interval_max=1, max_retries=5)
        producer = connection.Producer()
        while not told.is_set():
            if number < task['owed'] + (time.monotonic() - start) * task['perSecond']:
                number += 1
                publish(producer, queues[0] if choose.random() < 0.75 else queues[-1])
            else:
                time.sleep(0.005)
    except Exception as error:
        say(f'{type(error).__name__}: {error}')
        connection.close()
write(record('finished'))
connection.release()
