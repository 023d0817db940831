"""The API of a Vault or OpenBao: read, compare, write what differs."""

import difflib
import http.client
import json
import os
import ssl
import urllib.error
import urllib.request

from report import Problem, Refused
from settings import seconds


# Far more than any answer has.
LONGEST = 8 << 20


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take the token to another server."""

    def redirect_request(self, *_):
        return None


class Server:
    def __init__(self, address, token, namespace, authorities, report):
        self._address = address.rstrip("/")
        self._headers = {"X-Vault-Token": token, "X-Vault-Request": "true"}
        if namespace:
            self._headers["X-Vault-Namespace"] = namespace
        context = ssl.create_default_context(cafile=authorities)
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), NoRedirect)
        self._report = report

    @classmethod
    def from_environment(cls, token_file, report):
        address = variable("ADDR")
        if not address or not address.startswith(("http://", "https://")):
            raise Refused("VAULT_ADDR or BAO_ADDR has to name the server, such as https://vault.internal:8200")
        token = variable("TOKEN")
        if token_file:
            try:
                with open(token_file) as file:
                    token = file.read().strip()
            except OSError as error:
                raise Refused(f"cannot read the token: {token_file}: {error.strerror}") from None
        if not token:
            raise Refused("there is no token: set VAULT_TOKEN or BAO_TOKEN, or --token-file")
        report.hide([token])
        try:
            return cls(address, token, variable("NAMESPACE"), variable("CACERT"), report)
        except OSError as error:
            raise Refused(f"cannot read the authorities of VAULT_CACERT or BAO_CACERT: {error}") from None

    # What is refused before anything is changed.

    def must_answer(self):
        try:
            status, answer = self._ask("GET", "auth/token/lookup-self")
        except Problem as problem:
            raise Refused(str(problem)) from None
        if status == 503:
            raise Refused(f"the server at {self._address} is sealed, or has no leader")
        if status != 200:
            raise Refused(f"the server at {self._address} does not take the token: {reasons(status, answer)}")
        contents("auth/token/lookup-self", answer)

    def must_be(self, table, path, kind, version=None):
        mounted = self._mounts(table).get(path)
        if mounted is None:
            return
        if mounted["type"] != kind or (version and (mounted.get("options") or {}).get("version") != version):
            wanted = f"{kind} version {version}" if version else kind
            raise Refused(f"{path} is mounted as {mounted['type']}, and has to be {wanted}")

    # What is read.

    def read(self, path):
        status, answer = self._ask("GET", path)
        if status == 404:
            # A secret whose newest version was deleted still has a version, which a write has to know.
            return answer.get("data")
        if status != 200:
            raise Problem(f"cannot read {path}: {reasons(status, answer)}")
        return contents(path, answer)

    def take(self, path):
        status, answer = self._ask("GET", path)
        if status != 200:
            raise Problem(f"cannot get a credential of {path}: {reasons(status, answer)}")
        contents(path, answer)
        return answer

    def give_back(self, lease):
        self.write("sys/leases/revoke", {"lease_id": lease, "sync": True})

    def wrapped(self, path, ttl):
        status, answer = self._ask("POST", path, {}, {"X-Vault-Wrap-TTL": ttl})
        if status != 200 or not answer.get("wrap_info"):
            raise Problem(f"cannot get a wrapped secret-id of {path}: {reasons(status, answer)}")
        return answer["wrap_info"]["token"]

    # What is made.

    def write(self, path, fields):
        if self._report.dry_run:
            return
        status, answer = self._ask("POST", path, fields)
        if status not in (200, 204):
            raise Problem(f"cannot write {path}: {reasons(status, answer)}")

    def mount(self, table, path, fields):
        if path in self._mounts(table):
            self._report.left(f"{table}/{path}")
            return
        try:
            self.write(f"{table}/{path.rstrip('/')}", fields)
        except Problem:
            # Another run may have made it since we looked.
            if path not in self._mounts(table):
                raise
            self.must_be(table, path, fields["type"], (fields.get("options") or {}).get("version"))
            self._report.left(f"{table}/{path}")
            return
        self._report.changed(f"{table}/{path}", "made")

    def ensure_policy(self, name, text, file):
        held = (self.read_or_nothing(f"sys/policies/acl/{name}") or {}).get("policy")
        if held == text:
            self._report.left(f"policy {name}")
            return
        self.write(f"sys/policies/acl/{name}", {"policy": text})
        if held is None:
            self._report.changed(f"policy {name}", "made")
            return
        lines = difflib.unified_diff(held.splitlines(), text.splitlines(), lineterm="", n=0)
        differences = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
        self._report.changed(f"policy {name}", f"it was not as in {file}", differences)

    def ensure(self, path, fields, unreadable=None, shown=lambda held: held, rewrite=False):
        """Compares what the server shows with these fields. What it never shows is written with them, and not compared."""
        held = self.read_or_nothing(path)
        differing = [name for name, value in fields.items() if held is None or not same(shown(held).get(name), value)]
        if not differing and not (rewrite and unreadable):
            self._report.left(path)
            return
        if unreadable == {}:
            raise Problem(f"{path} has to be written, and --secrets does not have its log-in")
        self.write(path, {**fields, **(unreadable or {})})
        how = f"{', '.join(differing)} differed" if differing else "its log-in was written again"
        self._report.changed(path, "made" if held is None else how)

    def read_or_nothing(self, path):
        """As `read`, where the mount may not be there yet in a dry run."""
        status, answer = self._ask("GET", path)
        if status == 404 or (self._report.dry_run and status == 400):
            return None
        if status != 200:
            raise Problem(f"cannot read {path}: {reasons(status, answer)}")
        return contents(path, answer)

    def _mounts(self, table):
        status, answer = self._ask("GET", table)
        if status != 200:
            raise Refused(f"cannot read {table}: {reasons(status, answer)}")
        return contents(table, answer)

    def _ask(self, method, path, body=None, headers=()):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._address}/v1/{path}", data, {**self._headers, **dict(headers)}, method=method)
        try:
            with self._opener.open(request, timeout=30) as response:
                return response.status, parsed(response)
        except urllib.error.HTTPError as error:
            return error.code, parsed(error)
        except (OSError, http.client.HTTPException) as error:
            raise Problem(f"the server at {self._address} does not answer: {getattr(error, 'reason', error)}") from None


def variable(name):
    return os.environ.get(f"VAULT_{name}") or os.environ.get(f"BAO_{name}")


def parsed(response):
    """The object that was answered; an empty one if it is something else."""
    text = response.read(LONGEST)
    try:
        answer = json.loads(text) if text else {}
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def contents(path, answer):
    if not isinstance(answer.get("data"), dict):
        raise Problem(f"{path}: what answers is no Vault and no OpenBao")
    return answer["data"]


def reasons(status, answer):
    errors = answer.get("errors")
    if not isinstance(errors, list):
        errors = []
    return "; ".join(str(error).strip() for error in errors) if errors else f"HTTP status {status}"


def same(held, wanted):
    """A server shows a time as seconds, and a list in any order, or nothing for an empty one."""
    if isinstance(wanted, str) and isinstance(held, int) and not isinstance(held, bool):
        return seconds(wanted) == held
    if isinstance(wanted, list):
        return sorted(held or []) == sorted(wanted)
    return held == wanted
