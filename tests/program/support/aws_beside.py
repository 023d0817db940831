"""Services that real AWS has and the AWS emulator of these tests does not.

aws_beside.py PORT AWS CREDENTIALS SECONDS

GET answers with the file CREDENTIALS, as the agent of a container does. POST is passed on to AWS unchanged; to the description of a
secret it adds that its next rotation is planned SECONDS after the start.
"""

import http.client
import http.server
import json
import sys
import time
import urllib.parse

PORT, AWS, CREDENTIALS, SECONDS = int(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])
PLANNED = time.time() + SECONDS


class Beside(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body, kind):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        with open(CREDENTIALS, "rb") as file:
            self.answer(200, file.read(), "application/json")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        aws = http.client.HTTPConnection(urllib.parse.urlsplit(AWS).netloc)
        aws.request("POST", self.path, body, dict(self.headers))
        came = aws.getresponse()
        text = came.read()
        if self.headers.get("X-Amz-Target", "").endswith("DescribeSecret") and came.status == 200:
            described = json.loads(text)
            described.update(RotationEnabled=True, NextRotationDate=PLANNED)
            text = json.dumps(described).encode()
        self.answer(came.status, text, came.headers["Content-Type"])

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Beside).serve_forever()
