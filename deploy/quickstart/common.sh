# The common part of both quickstarts: output, waiting, and cleaning up. To be sourced.

pids=()
dirs=()

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
show() { printf '   $ %s\n' "$*"; }
indented() { sed 's/^/   /'; }

fail() {
    printf 'quickstart: %s\n' "$*" >&2
    exit 1
}

# Ends only processes that this script started, the last one first.
clean_up() {
    local status=$? at directory log
    trap - EXIT
    for ((at = ${#pids[@]} - 1; at >= 0; at--)); do
        kill "${pids[at]}" 2>/dev/null || true
        wait "${pids[at]}" 2>/dev/null || true
    done
    if [ "$status" != 0 ]; then
        for directory in "${dirs[@]}"; do
            for log in "$directory"/*.log; do
                [ -s "$log" ] && { echo "--- $(basename "$log")"; tail -n 20 "$log"; } >&2
            done
        done
    fi
    [ ${#dirs[@]} = 0 ] || rm -rf "${dirs[@]}"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Waits for a command to succeed: within <seconds> <what> <command…>.
within() {
    local tries=$(($1 * 20)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "waited in vain for: $what"
        sleep 0.05
    done
}

need_python() {
    command -v python3 >/dev/null || fail "there is no python3: install it (Debian: apt-get install python3-venv)"
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Without optimization, and without AWS: what is to be seen here takes a minute to build, and `cargo build --release` five. SQUIRE_BINARY names
# one that is built already.
build() {
    if [ -n "${SQUIRE_BINARY:-}" ]; then
        squire=$SQUIRE_BINARY
        return
    fi
    say "Squire is built"
    show "cargo build --profile quick --no-default-features --locked"
    cargo build --profile quick --no-default-features --locked --quiet
    squire=$PWD/target/quick/squire
    "$squire" --version | indented
}

# A directory on tmpfs, for secrets; it is removed when the script ends.
private_directory() {
    dir=$(mktemp -d /dev/shm/squire-quickstart.XXXXXX)
    dirs+=("$dir")
    cd "$dir"
}

# The web server that Squire wraps: it serves on a socket that it gets from Squire, and shows its credentials, or its database user.
write_shop() {
    cat >shop.py <<'PYTHON'
import os, signal, socket, subprocess, threading
from http.server import BaseHTTPRequestHandler, HTTPServer

def describe():
    password = os.environ["DB_PASSWORD"]
    return f"user {os.environ['DB_USER']}, password {password[:2]}… ({len(password)} characters)"

def ask_database():
    # libpq takes the password from the environment. In a session of its own, it does not get the signal that asks this process to end.
    command = ["psql", "-Atqc", "SELECT current_user", os.environ["DB_URL"]]
    done = subprocess.run(command, env=dict(os.environ, PGPASSWORD=os.environ["DB_PASSWORD"]), capture_output=True, text=True, start_new_session=True)
    return "the database says that I am " + done.stdout.strip() if done.returncode == 0 else "refused: " + done.stderr.strip()

class Shop(BaseHTTPRequestHandler):
    def do_GET(self):
        text = ask_database() if "DB_URL" in os.environ else describe()
        self.send_response(500 if text.startswith("refused") else 200)
        self.end_headers()
        self.wfile.write(f"process {os.getpid()}: {text}\n".encode())
    def log_message(self, *_):
        pass

server = HTTPServer(("127.0.0.1", 0), Shop, bind_and_activate=False)
server.socket = socket.socket(fileno=3)
# Asked to end, it answers the request that it has begun with, so that nobody is cut off; the next ones wait in the socket for the next process.
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever(poll_interval=0.05)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
os.kill(os.getpid(), signal.SIGTERM)
PYTHON
}

ask() { python3 -c "import sys, urllib.request; sys.stdout.write(urllib.request.urlopen('http://127.0.0.1:$port/', timeout=5).read().decode())"; }
answers() { ask | grep -q "$1"; }
answers_not() { ask >answer && ! grep -q "$1" answer; }

# Shows the present answer of the web server and the published file.
state() {
    show "curl http://127.0.0.1:$port/"
    ask | indented
    show "ls -l out/db.json"
    stat -L -c '   %A %n, %s bytes' out/db.json
}

start_squire() {
    show "squire run -c squire.toml"
    SQUIRE_LOG_FORMAT=text "$squire" run -c squire.toml 2>squire.log &
    squire_pid=$!
    pids+=("$squire_pid")
    within 60 "the web server's answer" answers "process"
    state
}

stop_squire() {
    show "kill -TERM \$(pidof squire)"
    kill -TERM "$squire_pid"
    local status=0 left
    wait "$squire_pid" || status=$?
    left=$(find out -mindepth 1 2>/dev/null | wc -l)
    echo "   squire ended with $status, as its process was ended by SIGTERM; left in the output directory: $left files"
    [ "$status" = 143 ] && [ "$left" = 0 ] || fail "that is not how it should end"
}
