"""Compares Squire's proxy with that of `bao agent`: both before one server, in one run, by TCP, each pinned to one processor.

    tests/bench/proxy [SECONDS]

For each: the latency that it adds to a read, requests a second with 16 clients, requests for each second of processor time, and the memory with
1,000 clients that are connected. Prints a Markdown table.
"""

import os
import pathlib
import resource
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

CLIENTS = 16
MANY = 1000
PASSWORD = "bench"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Client:
    """One connection that is kept."""

    def __init__(self, port, token="", number=0):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        token = f"X-Vault-Token: {token}\r\n" if token else ""
        self.request = f"GET /v1/secret/data/app{number % CLIENTS} HTTP/1.1\r\nHost: localhost\r\nX-Vault-Request: true\r\n{token}\r\n".encode()

    def send(self):
        self.socket.sendall(self.request)

    def receive(self):
        answer = self.socket.recv(65536)
        while b"\r\n\r\n" not in answer or b'"auth":null' not in answer:
            more = self.socket.recv(65536)
            if not more:
                raise RuntimeError(answer)
            answer += more
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(answer)

    def ask(self):
        self.send()
        self.receive()


def latency(port, token, seconds):
    client, times, end = Client(port, token), [], time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.perf_counter()
        client.ask()
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1e6, statistics.quantiles(times, n=100)[98] * 1e6


def throughput(port, token, seconds):
    clients, asked = [Client(port, token, number) for number in range(CLIENTS)], 0
    with selectors.DefaultSelector() as ready:
        for client in clients:
            ready.register(client.socket, selectors.EVENT_READ, client)
            client.send()
        begun = time.monotonic()
        while time.monotonic() < begun + seconds:
            for key, _ in ready.select():
                key.data.receive()
                key.data.send()
                asked += 1
        return asked, time.monotonic() - begun


def cpu(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(process):
    for line in pathlib.Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def wait_for(port, token):
    for _ in range(200):
        try:
            return Client(port, token).ask()
        except (OSError, RuntimeError):
            time.sleep(0.1)
    raise SystemExit(f"nobody answers at port {port}")


def main(squire, bao, seconds):
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    directory = pathlib.Path(tempfile.mkdtemp(prefix="squire-bench-"))
    ports = {name: free_port() for name in ("server", "squire", "agent")}
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "BAO_ADDR": f"http://127.0.0.1:{ports['server']}", "BAO_TOKEN": "root"}
    processes = []

    def start(words, name, processor=None):
        words = [*(["taskset", "-c", processor] if processor else []), *map(str, words)]
        log = open(directory / f"{name}.log", "wb")
        processes.append(subprocess.Popen(words, env=environment, stdout=log, stderr=log))
        return processes[-1]

    try:
        start([bao, "server", "-dev", "-dev-root-token-id=root", f"-dev-listen-address=127.0.0.1:{ports['server']}"], "server")
        for _ in range(100):
            try:
                urllib.request.urlopen(f"{environment['BAO_ADDR']}/v1/sys/health", timeout=1)
                break
            except OSError:
                time.sleep(0.1)
        # Each client reads a secret of its own, since Squire makes one request of equal ones.
        for number in range(CLIENTS):
            put = [bao, "kv", "put", f"secret/app{number}", f"password={PASSWORD}"]
            subprocess.run(put, env=environment, check=True, stdout=subprocess.DEVNULL)
        (directory / "token").write_text("root")
        source = f'[source.vault]\naddress = "{environment["BAO_ADDR"]}"\n[source.vault.auth.token]\nfile = "{directory}/token"\n'
        proxy = f'[proxy]\npaths = ["secret/data/*"]\nlisten = "127.0.0.1:{ports["squire"]}"\nrate = 100000\n'
        (directory / "squire.toml").write_text(source + proxy)
        (directory / "agent.hcl").write_text(
            f'vault {{ address = "{environment["BAO_ADDR"]}" }}\n'
            f'auto_auth {{ method "token_file" {{ config = {{ token_file_path = "{directory}/token" }} }} }}\n'
            'api_proxy { use_auto_auth_token = true }\n'
            f'listener "tcp" {{ address = "127.0.0.1:{ports["agent"]}"\n tls_disable = true }}\n'
        )
        proxies = {
            "squire": start([squire, "run", "-c", directory / "squire.toml"], "squire", "0"),
            "agent": start([bao, "agent", f"-config={directory}/agent.hcl"], "agent", "0"),
        }
        wait_for(ports["server"], "root")
        direct, direct_99 = latency(ports["server"], "root", seconds)
        print("| | added latency, median | 99 of 100 below | requests a second | for a second of processor | memory at rest | with 1,000 clients |")
        print("|---|---|---|---|---|---|---|")
        for name, process in proxies.items():
            wait_for(ports[name], "")
            rest = memory(process)
            median, most = latency(ports[name], "", seconds)
            before = cpu(process)
            asked, took = throughput(ports[name], "", seconds)
            spent = cpu(process) - before
            clients = [Client(ports[name]) for _ in range(MANY)]
            for client in clients:
                client.ask()
            crowded = memory(process)
            for client in clients:
                client.socket.close()
            title = {"squire": "Squire", "agent": "`bao agent`"}[name]
            print(f"| {title} | {median - direct:,.0f} µs | {most:,.0f} µs | {asked / took:,.0f} | {asked / max(spent, 0.01):,.0f} | {rest:.1f} MiB | {crowded:.1f} MiB |")
        print(f"\nWithout a proxy: {direct:,.0f} µs, and 99 of 100 below {direct_99:,.0f} µs.")
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 5.0)
