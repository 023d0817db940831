"""Does its work every PAUSE seconds, each time over a new connection. Who it is, libpq knows."""

import os
import time

import psycopg

while True:
    with psycopg.connect("service=shop") as connection:
        (user,) = connection.execute("SELECT current_user").fetchone()
    print(f"ok {user}", flush=True)
    time.sleep(float(os.environ["PAUSE"]))
