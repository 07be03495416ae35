"""What both kinds of Python workers do: the task, the log, and how they are told to finish. See ../worker.ts."""

import json
import os
import sys
import threading
import time

LEDGER = 3

task = json.loads(sys.argv[1])
by = task['by']


def write(*entries):
    """Appends records to the log, by one write."""
    at = round(time.monotonic() * 1000, 3)
    lines = [json.dumps({'at': at, **entry}) + '\n' for entry in entries]
    os.write(LEDGER, ''.join(lines).encode())


def record(event, **facts):
    return {'event': event, 'by': by, **facts}


def say(text):
    print(time.strftime('%H:%M:%S'), text, file=sys.stderr, flush=True)


def padding(number):
    """As in ../task.ts."""
    size = 300_000 if number % 997 == 0 else 5_000 if number % 13 == 0 else number % 50
    unit = f'{number}.'
    return unit * -(-size // len(unit))


def last_call():
    """An event that is set when the parent wants the worker to finish."""
    told = threading.Event()

    def wait():
        sys.stdin.read()
        told.set()

    threading.Thread(target=wait, daemon=True).start()
    return told


def watch_memory():
    """Tells of the memory every second."""
    def tell():
        while True:
            with open('/proc/self/status') as status:
                peak = next(line for line in status if line.startswith('VmHWM:'))
            write(record('memory', bytes=int(peak.split()[1]) * 1024))
            time.sleep(1)

    if os.path.exists('/proc/self/status'):
        threading.Thread(target=tell, daemon=True).start()


write(record('awake'))
