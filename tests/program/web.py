"""A small web server: on the socket that it got (LISTEN_FDS), or on the port of its first argument.

It answers with the password of its environment, records each start, and sends READY=1 if NOTIFY_SOCKET is set. On SIGTERM it finishes
the request in progress and ends. Connections that it has not accepted by then wait in the backlog for the next owner of the socket.
With DATABASE_URL it answers each request from the database, and begins only if it can.
"""

import os
import select
import signal
import socket
import subprocess
import sys


def listener():
    if os.environ.get("LISTEN_PID") == str(os.getpid()):
        return socket.socket(fileno=3)
    return socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=128)


def ready():
    address = os.environ.get("NOTIFY_SOCKET")
    if address and "BROKEN" not in PASSWORD:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", address.replace("@", "\0", 1))


def answer():
    url = os.environ.get("DATABASE_URL")
    if not url:
        return "200 OK", PASSWORD
    # It leaves the group that gets the stop signal, so that the request in progress is still answered.
    asked = subprocess.run(["psql", url, "-qtAc", "SELECT current_user || ' ' || owner FROM accounts"],
                           capture_output=True, text=True, check=False, start_new_session=True)
    if asked.returncode == 0:
        return "200 OK", asked.stdout.strip()
    with open("seen/errors", "a", encoding="utf-8") as errors:
        errors.write(f"{os.getpid()} {asked.stderr}")
    return "503 Service Unavailable", ""


def serve(connection):
    connection.settimeout(10)
    request = b""
    while b"\r\n\r\n" not in request:
        part = connection.recv(4096)
        if not part:
            return
        request += part
    status, body = answer()
    text = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    connection.sendall(text.encode())


PASSWORD = os.environ.get("PASSWORD", "")
stop, stopped = os.pipe()
os.set_blocking(stopped, False)
signal.set_wakeup_fd(stopped)
signal.signal(signal.SIGTERM, lambda *_: None)
if answer()[0] != "200 OK":
    sys.exit("cannot answer")
sock = listener()
sock.setblocking(False)
with open("seen/starts", "a", encoding="utf-8") as starts:
    starts.write(PASSWORD + "\n")
ready()
while True:
    readable = select.select([sock, stop], [], [])[0]
    if stop in readable:
        break
    try:
        client = sock.accept()[0]
    except BlockingIOError:
        continue
    try:
        with client:
            serve(client)
    except OSError:
        pass
