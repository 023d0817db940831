"""A small application: it counts its visits in Redis, and says who it is in PostgreSQL. Its secrets are in two files; on SIGHUP it takes the
new user of the database, without dropping a request."""

import http.server
import json
import os
import pathlib
import signal
import threading

import redis
from psycopg_pool import ConnectionPool

SECRETS = pathlib.Path(os.environ["APP_SECRETS"])


class App(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with pool.connection() as connection:
            (user,) = connection.execute("SELECT current_user").fetchone()
        answer = {"database_user": user, "visits": visits.incr("visits")}
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode() + b"\n")

    def log_message(self, *_):
        pass


class RedisCredentials(redis.CredentialProvider):
    """Read for each connection."""

    def get_credentials(self):
        credentials = json.loads((SECRETS / "redis.json").read_text())
        return credentials["username"], credentials["password"]


visits = redis.Redis.from_url(os.environ["REDIS_URL"], credential_provider=RedisCredentials())
pool = ConnectionPool((SECRETS / "database-url").read_text, min_size=2, max_size=8, open=False)
# The main thread waits for signals and does nothing else.
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP, signal.SIGTERM])
pool.open()
host, _, port = os.environ["APP_LISTEN"].rpartition(":")
server = http.server.ThreadingHTTPServer((host, int(port)), App)
threading.Thread(target=server.serve_forever).start()
while signal.sigwait([signal.SIGHUP, signal.SIGTERM]) == signal.SIGHUP:
    pool.drain()
server.shutdown()
server.server_close()
pool.close()
