"""One measurement of oslo.messaging: measure.py <scenario> <url> <warm-up ms> <measure ms>. Prints what measure.ts prints."""
import json
import resource
import subprocess
import sys
import threading
import time
import uuid

import oslo_messaging
from oslo_config import cfg
from oslo_messaging.rpc import dispatcher

ARGUMENT = 'x' * 100
OPTIONS = '?amqp_auto_delete=true&rabbit_transient_queues_ttl=60'


class Echo:
    def echo(self, context, value):
        return value


def transport(url):
    cfg.CONF([], project='bench')
    return oslo_messaging.get_rpc_transport(cfg.CONF, url=url.replace('amqp:', 'rabbit:', 1) + OPTIONS)


def serve(url, topic):
    target = oslo_messaging.Target(topic=topic, server='bench')
    server = oslo_messaging.get_rpc_server(
        transport(url), target, [Echo()], executor='threading', access_policy=dispatcher.DefaultRPCAccessPolicy)
    server.start()
    print('ready', flush=True)
    sys.stdin.read()


class Run:
    """Calls from several threads, for so many seconds of CPU, and four times as many of the clock at most."""

    def __init__(self, client, outstanding, seconds):
        self.client = client
        self.times = []
        self.end = time.process_time() + seconds
        self.limit = time.perf_counter() + 4 * seconds
        self.cpu, self.clock = time.process_time(), time.perf_counter()
        threads = [threading.Thread(target=self.call) for _ in range(outstanding)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.seconds = time.perf_counter() - self.clock
        self.used = time.process_time() - self.cpu

    def call(self):
        while time.process_time() < self.end and time.perf_counter() < self.limit:
            began = time.perf_counter()
            if self.client.call({}, 'echo', value=ARGUMENT) != ARGUMENT:
                raise AssertionError("another call's answer")
            self.times.append(time.perf_counter() - began)


def main(scenario, url, warm_up, measure):
    topic = 'bench-' + str(uuid.uuid4())
    server = subprocess.Popen([sys.executable, __file__, 'serve', url, topic], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    server.stdout.readline()
    client = oslo_messaging.get_rpc_client(transport(url), oslo_messaging.Target(topic=topic))
    outstanding = int(scenario.split('-')[1])
    Run(client, outstanding, float(warm_up) / 1000)
    run = Run(client, outstanding, float(measure) / 1000)
    server.kill()
    result = {'messages': len(run.times), 'seconds': run.seconds, 'cpu': run.used * 1e6}
    if outstanding == 1:
        times = sorted(run.times)
        result.update({name: times[int((len(times) - 1) * part)] * 1e6 for name, part in (('p50', 0.5), ('p99', 0.99))})
    result['rss'] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(result), flush=True)


if sys.argv[1] == 'serve':
    serve(*sys.argv[2:])
else:
    main(*sys.argv[1:5])
    # Its threads would keep the process for a while.
    import os
    os._exit(0)
