"""Calls the service, whoever serves it: python client.py rabbit://user:password@host/"""

import sys

import oslo_messaging
from oslo_config import cfg

conf = cfg.CONF
conf([], project='example')
url = sys.argv[1] if len(sys.argv) > 1 else 'rabbit://guest:guest@localhost:5672//'
transport = oslo_messaging.get_rpc_transport(conf, url=url)
conf.set_override('amqp_auto_delete', True, group='oslo_messaging_rabbit')

target = oslo_messaging.Target(topic='example-compute', version='1.1')
client = oslo_messaging.get_rpc_client(transport, target, timeout=10)
context = {'user': 'demo'}

print('servers:', *client.call(context, 'list'))
print('server 7:', client.call(context, 'reboot', id=7))
try:
    client.call(context, 'reboot', id=8, hard=True)
except LookupError as error:
    print('server 8: LookupError:', str(error).splitlines()[0])
transport.cleanup()
