"""A service with a pool of connections. On SIGHUP every connection is replaced by one of the new user: those at rest at once, the others
when their request is done with them."""

import http.server
import os
import pathlib
import signal
import threading

from psycopg_pool import ConnectionPool

URL = pathlib.Path(os.environ["DATABASE_URL_FILE"])


class Service(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with pool.connection() as connection:
            (user,) = connection.execute("SELECT current_user").fetchone()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(user.encode())

    def log_message(self, *_):
        pass


# A pool asks for the URL whenever it makes a connection.
pool = ConnectionPool(URL.read_text, min_size=2, max_size=8, open=False)
# The main thread waits for signals and does nothing else: a handler could interrupt the pool in the middle of its work.
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP, signal.SIGTERM])
pool.open()
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Service)
threading.Thread(target=server.serve_forever).start()
while signal.sigwait([signal.SIGHUP, signal.SIGTERM]) == signal.SIGHUP:
    pool.drain()
server.shutdown()
server.server_close()
pool.close()
