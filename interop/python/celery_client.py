"""A Celery client, told what to do line by line."""

from celery import Celery, chain, group, signature

from lines import serve
from values import pack, unpack


class Client:
    def open(self, url, queue, options=None):
        self.app = Celery('client', broker=url, backend='rpc://')
        self.app.conf.task_default_queue = queue
        self.app.conf.broker_transport_options = options or {}

    def call(self, task, args=None, kwargs=None, timeout=15, **options):
        """The result of a task; raises what it raised."""
        result = self.app.send_task(task, args=unpack(args or []), kwargs=kwargs or {}, **options)
        return pack(result.get(timeout=timeout))

    def send(self, task, args=None, **options):
        return self.app.send_task(task, args=unpack(args or []), **options).id

    def group(self, task, arguments, timeout=15, **options):
        """The results of a task with each of these arguments."""
        signatures = [signature(task, args=args, app=self.app).set(**options) for args in arguments]
        return [pack(result) for result in group(signatures, app=self.app).apply_async().get(timeout=timeout)]

    def chain(self, tasks, timeout=15):
        """Runs (task, args, queue), each with the result of the one before."""
        signatures = [signature(task, args=args, app=self.app).set(queue=queue) for task, args, queue in tasks]
        return pack(chain(signatures, app=self.app).apply_async().get(timeout=timeout))

    def inspect(self, command, destination, timeout=5):
        return getattr(self.app.control.inspect(destination=destination, timeout=timeout), command)()


if __name__ == '__main__':
    serve(Client())
