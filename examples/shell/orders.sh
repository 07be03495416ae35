#!/bin/sh
# Orders come in as lines of a file, a program bills each, what it cannot bill is put aside, mended and tried again; all from the shell.
#
#     npm install --global @wakame/cli
#     sh examples/shell/orders.sh sqlite:orders.db
set -eu
export WAKAME_URL="${1:-${WAKAME_URL:-sqlite:orders.db}}"
here=$(dirname "$0")

# Where a program fails, the message goes to shell.failed.
wakame declare queue shell.failed >/dev/null
wakame declare queue shell.orders --dead-letter-exchange '' --dead-letter-key shell.failed >/dev/null
wakame declare queue shell.mails >/dev/null
trap 'wakame delete queue shell.orders shell.failed shell.mails --yes >/dev/null' EXIT

echo '# Each line is a message'
wakame publish --queue shell.orders - --lines --header source=shop <<ORDERS
{"id": 1, "total": 40}
{"id": 2, "total": -5}
{"id": 3, "total": 12}
ORDERS

echo '# A program for each message: its exit code settles it'
wakame consume shell.orders --exec "sh '$here/bill.sh'" --on-failure reject --count 3

echo '# What failed, as JSON for other programs'
wakame consume shell.failed --peek --json --count 1 --timeout 5s | node "$here/ids.js"

echo '# Mended on its way from one queue to another'
wakame consume shell.failed --format body --count 1 --timeout 5s | sed 's/-5/5/' | wakame publish --queue shell.orders - --lines
wakame consume shell.orders --exec "sh '$here/bill.sh'" --count 1 --timeout 5s

echo '# JSON through a pipe of programs, and results for programs'
printf '%s\n' '{"to": "ann"}' '{"to": "bob"}' | wakame publish --queue shell.mails - --lines --json
wakame consume shell.mails --json --count 2 | node "$here/greet.js" | wakame publish --queue shell.orders - --lines
wakame consume shell.orders --format body --count 2

echo '# Exit codes: 3 says that there was nothing'
if wakame get shell.orders 2>/dev/null; then echo 'one more'; else echo "exit code $?"; fi

# Prints:
# # Each line is a message
# published 3 messages
# # A program for each message: its exit code settles it
# billed 40 to order 1 (shop)
# billed 12 to order 3 (shop)
# # What failed, as JSON for other programs
# order 2 in shell.failed
# # Mended on its way from one queue to another
# published 1 message
# billed 5 to order 2 ()
# # JSON through a pipe of programs, and results for programs
# {"published":2,"unroutable":0}
# published 2 messages
# {"text":"Hello, ann!"}
# {"text":"Hello, bob!"}
# # Exit codes: 3 says that there was nothing
# exit code 3
