"""A broker for Kafka's clients that asks for SASL/PLAIN.

    kafka_broker.py serve TANSU PORT DIRECTORY    serves at PORT; who may log in is in DIRECTORY/users.json, read at each log-in
    kafka_broker.py read PROPERTIES TOPIC LAST    prints each message of the topic up to this one

The broker is tansu, which has no users of its own in memory. What stands before it here speaks the two requests of SASL, as
https://kafka.apache.org/protocol describes them, and passes everything else on. A connection ends when its user is no longer in the file.
"""

import asyncio
import json
import pathlib
import struct
import subprocess
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

API_VERSIONS, HANDSHAKE, AUTHENTICATE = 18, 17, 36
REFUSED = 58


def users(directory):
    return json.loads((directory / "users.json").read_text())


async def frame(reader):
    (length,) = struct.unpack(">i", await reader.readexactly(4))
    return await reader.readexactly(length)


def answer(correlation, body):
    return struct.pack(">ii", len(body) + 4, correlation) + body


def text(value):
    return struct.pack(">h", len(value)) + value


class Gate:
    def __init__(self, directory, broker):
        self.directory = directory
        self.broker = broker

    async def serve(self, reader, writer):
        try:
            inner, outer = await asyncio.open_connection("127.0.0.1", self.broker)
            user = await self.log_in(reader, writer, inner, outer)
            both = [asyncio.create_task(pass_on(reader, outer)), asyncio.create_task(pass_on(inner, writer))]
            both.append(asyncio.create_task(self.until_gone(user)))
            _, pending = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            outer.close()
        except (asyncio.IncompleteReadError, OSError, ValueError):
            pass
        finally:
            writer.close()

    async def log_in(self, reader, writer, inner, outer):
        """Answers until somebody has logged in; nobody else reaches the broker, but for the list of its versions."""
        while True:
            request = await frame(reader)
            key, version, correlation, client = struct.unpack(">hhih", request[:10])
            body = request[10 + max(client, 0):]
            if key == API_VERSIONS:
                outer.write(struct.pack(">i", len(request)) + request)
                reply = await frame(inner)
                writer.write(struct.pack(">i", len(reply)) + reply)
            elif key == HANDSHAKE:
                writer.write(answer(correlation, struct.pack(">hi", 0, 1) + text(b"PLAIN")))
            elif key == AUTHENTICATE and version <= 1:
                _, name, password = body[4:].decode().split("\0")
                good = users(self.directory).get(name) == password
                print(f"{'logged in' if good else 'refused'} {name}", flush=True)
                error = struct.pack(">hh", 0, -1) if good else struct.pack(">h", REFUSED) + text(b"wrong password")
                life = struct.pack(">q", 0) if version == 1 else b""
                writer.write(answer(correlation, error + struct.pack(">i", 0) + life))
                if good:
                    return name
            else:
                raise ValueError(f"request {key} version {version} before a log-in")

    async def until_gone(self, user):
        while user in users(self.directory):
            await asyncio.sleep(0.05)


async def pass_on(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def serve(tansu, port, directory):
    directory = pathlib.Path(directory)
    gate = await asyncio.start_server(lambda *both: Gate(directory, broker).serve(*both), "127.0.0.1", int(port))
    # A port that is free now, for the broker behind.
    probe = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    broker = probe.sockets[0].getsockname()[1]
    probe.close()
    # It ends with us, also if we are killed.
    subprocess.Popen([
        "setpriv", "--pdeathsig", "KILL", "--", tansu, "broker", "--listener-url", f"tcp://127.0.0.1:{broker}",
        "--advertised-listener-url", f"tcp://127.0.0.1:{port}", "--storage-engine", "memory://tansu/",
    ])
    await asyncio.to_thread(make_topic, port, directory)
    print("ready", flush=True)
    await gate.serve_forever()


def make_topic(port, directory):
    name, password = next(iter(users(directory).items()))
    admin = AdminClient({
        "bootstrap.servers": f"127.0.0.1:{port}", "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN",
        "sasl.username": name, "sasl.password": password,
    })
    admin.create_topics([NewTopic("orders", 1, 1)], request_timeout=20)["orders"].result()


def read(properties, topic, last):
    settings = dict(line.split("=", 1) for line in pathlib.Path(properties).read_text().splitlines() if line)
    consumer = Consumer({**settings, "group.id": "reader"})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    value = None
    while value != last and (message := consumer.poll(20)):
        if message.error():
            sys.exit(str(message.error()))
        value = message.value().decode()
        print(value)


if sys.argv[1] == "serve":
    asyncio.run(serve(*sys.argv[2:]))
else:
    read(*sys.argv[2:])
