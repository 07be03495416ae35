"""Commands by standard input.

Each line is a JSON object {"id", "do", ...}; the answer is {"id", "result"} or {"id", "error"} on a line of standard output. Every
command runs to its end before the next is read.
"""

import json
import sys
import traceback


def serve(target):
    """Calls the method that "do" names, with the rest as keyword arguments."""
    for line in sys.stdin:
        request = json.loads(line)
        answer = {'id': request.pop('id')}
        command = request.pop('do')
        try:
            answer['result'] = getattr(target, command)(**request)
        except Exception as error:
            answer['error'] = {'type': type(error).__name__, 'message': str(error), 'trace': traceback.format_exc()}
        print(json.dumps(answer), flush=True)
