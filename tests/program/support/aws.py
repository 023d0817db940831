"""Sends the request in each line of stdin to AWS, and prints the answer as a line: [service, operation, arguments] -> {"ok": …} or {"error": …}."""

import json
import os
import sys

import botocore.config
import botocore.session

# Without validation a session may be shorter than AWS itself allows.
CONFIG = botocore.config.Config(parameter_validation=False)


def main():
    session = botocore.session.get_session()
    clients = {}
    for line in sys.stdin:
        service, operation, arguments = json.loads(line)
        if service not in clients:
            endpoint = os.environ["ENDPOINT"]
            clients[service] = session.create_client(service, endpoint_url=endpoint, config=CONFIG)
        try:
            answer = {"ok": getattr(clients[service], operation)(**arguments)}
        except Exception as error:  # whatever it is, the test wants to see it
            answer = {"error": str(error)}
        print(json.dumps(answer, default=str), flush=True)


main()
