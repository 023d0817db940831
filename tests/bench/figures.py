"""Measures Squire and `bao agent` on one development server: start, memory, size.

Both log in by AppRole and render one file that needs every secret; both write to tmpfs. The runs of the two take turns, so
that what else the machine does meets both. A time is from the moment before the fork until the file, whole, is seen.
"""

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT_TOKEN = "root-token-of-the-figures"
COUNTS = (1, 100, 1000)
REST = 2.0  # seconds after the first file until a process is at rest
LIMIT = 60.0  # seconds after which a run has failed


class Server:
    """A development server on a free port, with the secrets `secret/bench/s0` … and a role that reads them."""

    def __init__(self, bao: Path, directory: Path):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        arguments = ["server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={ROOT_TOKEN}"]
        log = open(directory / "openbao.log", "wb")
        self.process = subprocess.Popen(
            [bao, *arguments, f"-dev-listen-address=127.0.0.1:{port}"],
            stdout=log, stderr=log, env={"HOME": str(directory), "PATH": os.environ["PATH"]},
        )
        until(lambda: self.ask("GET", "auth/token/lookup-self") is not None, "the server's start")

    def ask(self, method: str, path: str, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}/v1/{path}", data, {"X-Vault-Token": ROOT_TOKEN}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.loads(answer.read() or b"{}")
        except (urllib.error.URLError, ConnectionError):
            return None

    def set_up(self, directory: Path):
        self.ask("POST", "sys/auth/approle", {"type": "approle"})
        self.ask("POST", "sys/policies/acl/bench", {"policy": 'path "secret/data/bench/*" { capabilities = ["read"] }'})
        self.ask("POST", "auth/approle/role/bench", {"token_policies": ["bench"], "token_ttl": "1h"})
        role_id = self.ask("GET", "auth/approle/role/bench/role-id")["data"]["role_id"]
        (directory / "role-id").write_text(role_id)
        (directory / "secret-id").write_text(self.ask("POST", "auth/approle/role/bench/secret-id", {})["data"]["secret_id"])
        for number in range(max(COUNTS)):
            written = self.ask("POST", f"secret/data/bench/s{number}", {"data": {"v": f"value-{number}"}})
            assert written is not None, f"secret {number} could not be written"


def squire_command(squire: Path, server: Server, directory: Path, count: int, child: bool) -> list[str]:
    secrets = "".join(f'[secret.s{n}]\npath = "secret/bench/s{n}"\n' for n in range(count))
    template = "".join(f"{{{{s{n}.v}}}}\n" for n in range(count))
    (directory / "squire.hbs").write_text(template)
    process = '[process]\nenv = { V = "{{s0.v}}" }\n' if child else ""
    file = "" if child else f'[[file]]\npath = "all"\ntemplate = "{directory}/squire.hbs"\n'
    (directory / "squire.toml").write_text(f"""
[source.vault]
address = "{server.address}"
[source.vault.auth.approle]
role_id_file = "{directory}/role-id"
secret_id_file = "{directory}/secret-id"
{secrets}
[output]
dir = "{directory}/out"
{file}{process}""")
    command = [str(squire), "run", "-c", f"{directory}/squire.toml"]
    return [*command, "--", *child_command(directory)] if child else command


def agent_command(bao: Path, server: Server, directory: Path, count: int, child: bool) -> list[str]:
    template = "".join(f'{{{{with secret "secret/data/bench/s{n}"}}}}{{{{.Data.data.v}}}}\n{{{{end}}}}' for n in range(count))
    (directory / "agent.ctmpl").write_text(template)
    if child:
        command = json.dumps(child_command(directory))
        output = f"""
env_template "V" {{ contents = "{{{{with secret \\"secret/data/bench/s0\\"}}}}{{{{.Data.data.v}}}}{{{{end}}}}" }}
exec {{ command = {command} }}
"""
    else:
        output = f'template {{ source = "{directory}/agent.ctmpl"  destination = "{directory}/out/all" }}\n'
    (directory / "agent.hcl").write_text(f"""
vault {{ address = "{server.address}" }}
auto_auth {{
  method "approle" {{
    config = {{
      role_id_file_path = "{directory}/role-id"
      secret_id_file_path = "{directory}/secret-id"
      remove_secret_id_file_after_reading = false
    }}
  }}
}}
{output}""")
    return [str(bao), "agent", f"-config={directory}/agent.hcl"]


def child_command(directory: Path) -> list[str]:
    # The marker is the first thing that the shell does, without a further process. It holds the process id.
    return ["/bin/sh", "-c", f'echo "$$ $V" > {directory}/marker; exec sleep 1000']


def measure(command: list[str], directory: Path, wanted: Path, lines: int, at_rest: bool) -> tuple[float, float]:
    """Seconds until the file has all its lines; then resident MiB at rest, or 0."""
    clear(directory)
    with open(directory / "last.log", "wb") as log:
        environment = {"HOME": str(directory), "PATH": os.environ["PATH"]}
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        while count_lines(wanted) < lines:
            if process.poll() is not None or time.perf_counter() - started > LIMIT:
                tail = (directory / "last.log").read_text(errors="replace")[-2000:]
                raise SystemExit(f"{command[0]} did not write {wanted.name}:\n{tail}")
            time.sleep(0.0002)
        seconds = time.perf_counter() - started
        resident = 0.0
        if at_rest:
            time.sleep(REST)
            resident = resident_mebibytes(process.pid)
        return seconds, resident
    finally:
        stop(process, directory / "marker")


def stop(process: subprocess.Popen, marker: Path):
    """Ends a program as its user would, and also its child if the program leaves it running."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if marker.exists() and (words := marker.read_text().split()):
        try:
            os.kill(int(words[0]), signal.SIGKILL)
        except ProcessLookupError:
            pass


def clear(directory: Path):
    out = directory / "out"
    subprocess.run(["rm", "-rf", out, directory / "marker"], check=True)
    out.mkdir()


def count_lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def resident_mebibytes(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) / 1024


def until(condition, what: str):
    end = time.monotonic() + 20
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"waited in vain for {what}")
        time.sleep(0.02)


def main():
    squire, bao, runs = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), max(7, int(sys.argv[3]))
    programs = {"squire": (squire, squire_command), "bao agent": (bao, agent_command)}
    rows: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory(prefix="squire-figures-", dir="/dev/shm") as name:
        directory = Path(name)
        server = Server(bao, directory)
        try:
            server.set_up(directory)
            figures: dict[tuple[str, str], list[float]] = {}
            for count in COUNTS:
                for _ in range(runs):
                    for program, (binary, command_for) in programs.items():
                        command = command_for(binary, server, directory, count, False)
                        at_rest = count < max(COUNTS)
                        seconds, resident = measure(command, directory, directory / "out/all", count, at_rest)
                        figures.setdefault((f"start to first file, secrets: {count}", program), []).append(seconds * 1000)
                        if at_rest:
                            figures.setdefault((f"resident memory at rest, secrets: {count}", program), []).append(resident)
            for _ in range(runs):
                for program, (binary, command_for) in programs.items():
                    command = command_for(binary, server, directory, 1, True)
                    seconds, _ = measure(command, directory, directory / "marker", 1, False)
                    figures.setdefault(("start to the child's first instruction", program), []).append(seconds * 1000)
        finally:
            server.process.terminate()
            server.process.wait()
    for (row, program), values in figures.items():
        unit = "MiB" if "memory" in row else "ms"
        rows.setdefault(row, []).append(f"{statistics.median(values):.1f} {unit} ({min(values):.1f} … {max(values):.1f})")
    rows["binary size"] = [f"{binary.stat().st_size / 2**20:.1f} MiB" for binary, _ in programs.values()]
    print(f"| median of {runs} (least … most) | squire | bao agent |\n|---|---|---|")
    for row, cells in rows.items():
        print(f"| {row} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
