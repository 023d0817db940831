"""Sends a message every PAUSE seconds. On SIGHUP it has new credentials for the next connection; those that are there stay."""

import os
import pathlib
import signal
import time

from confluent_kafka import Producer

FILE = pathlib.Path(os.environ["KAFKA_PROPERTIES"])


def properties():
    return dict(line.split("=", 1) for line in FILE.read_text().splitlines() if line)


def take_new_credentials(*_):
    new = properties()
    producer.set_sasl_credentials(new["sasl.username"], new["sasl.password"])


def report(error, message):
    print(f"failed: {error}" if error else f"ok {message.value().decode()}", flush=True)


# With `enable.idempotence` a message that is sent again after a lost connection is in the topic once.
producer = Producer({**properties(), "enable.idempotence": True})
signal.signal(signal.SIGHUP, take_new_credentials)
signal.signal(signal.SIGTERM, lambda *_: exit(producer.flush(10)))
number = 0
while True:
    producer.produce(os.environ["TOPIC"], str(number), on_delivery=report)
    number += 1
    producer.poll(0)
    time.sleep(float(os.environ["PAUSE"]))
