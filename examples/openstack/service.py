"""The same service in Python: python service.py rabbit://user:password@host/"""

import sys
import threading

import oslo_messaging
from oslo_config import cfg

conf = cfg.CONF
conf([], project='example')
url = sys.argv[1] if len(sys.argv) > 1 else 'rabbit://guest:guest@localhost:5672//'
transport = oslo_messaging.get_rpc_transport(conf, url=url)
conf.set_override('amqp_auto_delete', True, group='oslo_messaging_rabbit')


class Compute:
    target = oslo_messaging.Target(version='1.1')

    def list(self, context):
        return [7]

    def reboot(self, context, id, hard=False):
        if id != 7:
            raise LookupError(f'no server {id}')
        return 'restarting' if hard else 'rebooting'


target = oslo_messaging.Target(topic='example-compute', server='python-1')
server = oslo_messaging.get_rpc_server(transport, target, [Compute()], executor='threading')
server.start()
print('serving', flush=True)
try:
    threading.Event().wait()
except KeyboardInterrupt:
    server.stop()
    server.wait()
    transport.cleanup()
