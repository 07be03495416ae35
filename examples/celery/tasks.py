"""The Python side: an ordinary Celery application.

    CELERY_BROKER_URL=amqp://guest:guest@localhost:5672// celery -A tasks worker --task-events
"""

import json
import os

from celery import Celery

app = Celery('tasks', backend='rpc://')
app.conf.update(
    # Celery's own variable names the broker; RabbitMQ on this machine is its default.
    broker_url=os.environ.get('CELERY_BROKER_URL', 'amqp://guest:guest@localhost:5672//'),
    # Of some brokers the URL does not say all: {"data_folder_in": "/srv/messages", ...}
    broker_transport_options=json.loads(os.environ.get('CELERY_BROKER_TRANSPORT_OPTIONS', '{}')),
    task_default_queue=os.environ.get('CELERY_QUEUE', 'celery'),
    # What this application sends to tasks called js.* is for Node.
    task_routes={'js.*': {'queue': os.environ.get('NODE_QUEUE', 'node-tasks')}},
)


if os.environ.get('CELERY_QUEUE_TYPE') == 'quorum':
    # Replicated queues; RabbitMQ itself then holds tasks with a countdown back, which takes a topic exchange.
    app.conf.update(task_default_queue_type='quorum', task_default_exchange_type='topic')


@app.task(name='tasks.add')
def add(x, y):
    return x + y


@app.task(name='tasks.divide')
def divide(x, y):
    return x / y


@app.task(name='tasks.limited')
def limited():
    return 'ran'
