"""A mailbox client, by Kombu: the Python half of examples/mailbox/client.ts.

    python mailbox_client.py URL COMMAND [ARGUMENTS as JSON] [--namespace testMailbox] [--type fanout]
        [--destination NAME ...] [--pattern PATTERN --matcher glob] [--limit N] [--timeout SECONDS] [--no-reply]
        [--transport-options JSON]

Prints the replies as a line of JSON.
"""

import argparse
import json

from kombu import Connection, pidbox


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url", nargs="?", default="amqp://guest:guest@localhost:5672//")
    parser.add_argument("command", nargs="?", default="print_msg")
    parser.add_argument("arguments", nargs="?", default='{"msg": "Message from Python"}', type=json.loads)
    parser.add_argument("--namespace", default="testMailbox")
    parser.add_argument("--type", default="fanout", choices=("direct", "fanout"))
    parser.add_argument("--destination", nargs="+")
    parser.add_argument("--pattern")
    parser.add_argument("--matcher")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--timeout", type=float, default=1)
    parser.add_argument("--no-reply", dest="reply", action="store_false")
    parser.add_argument("--transport-options", type=json.loads, default={})
    options = parser.parse_args()

    with Connection(options.url, transport_options=options.transport_options) as connection:
        mailbox = pidbox.Mailbox(options.namespace, type=options.type)
        replies = mailbox(connection)._broadcast(
            options.command,
            options.arguments,
            destination=options.destination,
            pattern=options.pattern,
            matcher=options.matcher,
            limit=options.limit,
            timeout=options.timeout,
            reply=options.reply,
        )
        print(json.dumps(replies, sort_keys=True), flush=True)


if __name__ == "__main__":
    main()
