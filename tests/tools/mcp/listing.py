"""An MCP server without a library that answers what a file says: `python listing.py FILE`.

The file has an object of results by method: a text in place of one is sent as it is, in place of null nothing, and at
"die" the server does. It writes its id and what it is asked beside the file. Told to be stubborn, it goes on when its
input is closed.
"""

import json
import os
import sys
import time
from pathlib import Path

BEGIN = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "listing", "version": "1"}}

if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.with_suffix(".pid").write_text(str(os.getpid()))
    answers = {"initialize": BEGIN, **json.loads(file.read_text())}
    for line in sys.stdin:
        message = json.loads(line)
        answer = answers.get(message.get("method"))
        with file.with_suffix(".log").open("a") as log:
            log.write(f"{message.get('method')}\n")
        if answer == "die":
            sys.exit(1)
        if isinstance(answer, str):
            print(answer, flush=True)
        elif answer is not None:
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": answer}), flush=True)
    if "stubborn" in sys.argv:
        time.sleep(600)
