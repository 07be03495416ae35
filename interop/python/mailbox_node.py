"""A mailbox node, by Kombu: the Python half of examples/mailbox/node.ts.

    python mailbox_node.py URL [--namespace testMailbox] [--type fanout] [--hostname NAME]
        [--transport-options JSON]

Prints `ready` when it listens, then what it is told to print. Commands:

    print_msg(msg)   prints it, and answers how many it has printed
    echo(value)      answers the value
    fail(text)       raises ValueError(text)
    stop()           answers "stopping", then ends
"""

import argparse
import json
import socket

from kombu import Connection, pidbox


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url", nargs="?", default="amqp://guest:guest@localhost:5672//")
    parser.add_argument("--namespace", default="testMailbox")
    parser.add_argument("--type", default="fanout", choices=("direct", "fanout"))
    parser.add_argument("--hostname", default="python")
    parser.add_argument("--transport-options", type=json.loads, default={})
    options = parser.parse_args()

    state = {"printed": 0, "running": True}
    with Connection(options.url, transport_options=options.transport_options) as connection:
        mailbox = pidbox.Mailbox(options.namespace, type=options.type)
        node = mailbox(connection).Node(options.hostname, state=state)
        node.channel = connection.channel()

        @node.handler
        def print_msg(state, msg):
            print(msg, flush=True)
            state["printed"] += 1
            return state["printed"]

        @node.handler
        def echo(state, value=None):
            return value

        @node.handler
        def fail(state, text=""):
            raise ValueError(text)

        @node.handler
        def stop(state):
            state["running"] = False
            return "stopping"

        consumer = node.listen()
        print("ready", flush=True)
        while state["running"]:
            try:
                connection.drain_events(timeout=1)
            except socket.timeout:
                pass
        consumer.cancel()


if __name__ == "__main__":
    main()
