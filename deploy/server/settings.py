"""Reads what is to be set up. Every problem is found before anything is asked of a server."""

import json
import os
import re
import stat
import tomllib
from dataclasses import dataclass

from postgres import RIGHTS, Database, Role
from report import Refused

NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
DURATION = re.compile(r"([0-9]+)([smhd])")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def is_duration(text):
    return isinstance(text, str) and DURATION.fullmatch(text) is not None


def seconds(text):
    number, unit = DURATION.fullmatch(text).groups()
    return int(number) * UNITS[unit]


@dataclass
class AppRole:
    name: str
    policy_file: str
    policy: str
    token_ttl: str
    token_max_ttl: str
    secret_id_ttl: str
    secret_id_num_uses: int
    token_bound_cidrs: list

    def fields(self):
        return {
            "token_policies": [self.name],
            "token_ttl": self.token_ttl,
            "token_max_ttl": self.token_max_ttl,
            "token_no_default_policy": True,
            "token_bound_cidrs": self.token_bound_cidrs,
            "secret_id_ttl": self.secret_id_ttl,
            "secret_id_num_uses": self.secret_id_num_uses,
            "bind_secret_id": True,
        }


@dataclass
class Wanted:
    app: str
    approles: dict
    secrets: dict
    databases: dict
    roles: dict

    def plaintexts(self):
        for database in self.databases.values():
            yield database.password
        for secret in self.secrets.values():
            for value, length in secret.values():
                if length:
                    yield value


def read(path, secrets_path):
    document = load(path, tomllib.loads)
    given = read_secrets(secrets_path) if secrets_path else {}
    reader = Reader(path, document, given)
    wanted = reader.wanted()
    if reader.problems:
        raise Refused("\n".join(reader.problems))
    return wanted


def load(path, parse):
    try:
        with open(path, encoding="utf-8") as file:
            return parse(file.read())
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror}") from None
    except json.JSONDecodeError as error:
        # Without the text at that place, which may be a secret.
        raise Refused(f"{path}, line {error.lineno}: this is no JSON") from None
    except ValueError as error:
        raise Refused(f"{path}: {error}") from None


def read_secrets(path):
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror}") from None
    if stat.S_ISREG(mode) and mode & 0o077:
        raise Refused(f"{path} can be read by others: chmod 0600 {path}")
    given = load(path, json.loads)
    if not isinstance(given, dict) or not all(isinstance(given.get(key, {}), dict) for key in ("database", "secret")):
        raise Refused(f"{path}: it has to be an object with `database` and `secret`")
    return given


class Reader:
    def __init__(self, path, document, given):
        self.problems = []
        self._path = path
        self._document = document
        self._given = given

    def wanted(self):
        self._known(self._document, "", ("app", "approle", "secret", "database", "role"))
        self._known(self._given, "--secrets: ", ("database", "secret"))
        app = self._text(self._document, "", "app", matching=NAME)
        databases = {name: self._database(app, name, table) for name, table in self._tables("database")}
        wanted = Wanted(
            app=app,
            approles={name: self._approle(app, name, table) for name, table in self._tables("approle")},
            secrets={name: self._secret(name, table) for name, table in self._tables("secret")},
            databases=databases,
            roles={name: self._role(app, name, table, databases) for name, table in self._tables("role")},
        )
        for kind, names in (("database", databases), ("secret", wanted.secrets)):
            self._known(self._given.get(kind, {}), f"--secrets: {kind}.", names)
        return wanted

    def _approle(self, app, name, table):
        place = f"approle.{name}."
        optional = ("secret_id_num_uses", "token_bound_cidrs")
        self._known(table, place, ("policy", "token_ttl", "token_max_ttl", "secret_id_ttl", *optional))
        file = self._text(table, place, "policy")
        try:
            policy = load(os.path.join(os.path.dirname(self._path), file), str)
        except Refused as refused:
            self.problems.append(f"{self._path}: {place}policy: {refused}")
            policy = ""
        times = [self._duration(table, place, key) for key in ("token_ttl", "token_max_ttl", "secret_id_ttl")]
        if all(is_duration(time) for time in times[:2]) and seconds(times[0]) > seconds(times[1]):
            self._problem(place, "token_ttl", "is longer than token_max_ttl")
        uses, networks = table.get("secret_id_num_uses", 0), table.get("token_bound_cidrs", [])
        if type(uses) is not int or uses < 0:
            self._problem(place, "secret_id_num_uses", "has to be a number")
        if not isinstance(networks, list) or not all(isinstance(network, str) for network in networks):
            self._problem(place, "token_bound_cidrs", "has to be a list of networks")
        return AppRole(f"{app}-{name}", file, policy, *times, uses, networks)

    def _secret(self, name, table):
        """Each field as (its value, its length if it is to be random)."""
        given = self._given.get("secret", {}).get(name, {})
        self._known(given, f"--secrets: secret.{name}.", table)
        fields = {}
        for key, value in table.items():
            length = value.get("generate") if isinstance(value, dict) and list(value) == ["generate"] else None
            if isinstance(value, str):
                length = 0
            if type(length) is not int or (length and not 16 <= length <= 1024):
                self._problem(f"secret.{name}.", key, "has to be a text, or { generate = LENGTH } with 16 to 1024")
                length = 16
            text = given.get(key, value if isinstance(value, str) else None)
            if text is not None and not isinstance(text, str):
                self._problem(f"--secrets: secret.{name}.", key, "has to be a text")
                text = None
            fields[key] = (text, length)
        return fields

    def _database(self, app, name, table):
        place = f"database.{name}."
        self._known(table, place, ("address", "name", "sslmode"))
        address = self._text(table, place, "address", re.compile(r"[A-Za-z0-9._-]+:[0-9]{1,5}"))
        sslmode = self._text(table, place, "sslmode", re.compile("disable|prefer|require|verify-ca|verify-full"))
        given = self._given.get("database", {}).get(name, {})
        self._known(given, f"--secrets: database.{name}.", ("username", "password"))
        if given:
            for key in ("username", "password"):
                self._text(given, f"--secrets: database.{name}.", key)
        return Database(app, name, address, self._text(table, place, "name"), sslmode, given.get("username"), given.get("password"))

    def _role(self, app, name, table, databases):
        place = f"role.{name}."
        self._known(table, place, ("database", "rights", "ttl", "max_ttl"))
        database = databases.get(self._text(table, place, "database"))
        if database is None:
            self._problem(place, "database", "is none of the databases")
        rights = self._text(table, place, "rights", re.compile("|".join(RIGHTS)))
        times = [self._duration(table, place, key) for key in ("ttl", "max_ttl")]
        if all(is_duration(time) for time in times) and seconds(times[0]) > seconds(times[1]):
            self._problem(place, "ttl", "is longer than max_ttl")
        return Role(f"{app}-{name}", database, rights, *times)

    def _tables(self, kind):
        tables = self._document.get(kind, {})
        if not isinstance(tables, dict):
            self._problem("", kind, "has to be a table of tables")
            return
        for name, table in tables.items():
            if not NAME.fullmatch(name) or not isinstance(table, dict):
                self._problem(f"{kind}.", name, "has to be a table with a name of small letters, digits and -")
            else:
                yield name, table

    def _text(self, table, place, key, matching=None):
        value = table.get(key)
        if not isinstance(value, str) or not value or (matching and not matching.fullmatch(value)):
            self._problem(place, key, "is missing" if value is None else "has a value that is none for this key")
            return ""
        return value

    def _duration(self, table, place, key):
        if not is_duration(table.get(key)):
            self._problem(place, key, "has to be a time such as 30s, 10m, 2h or 30d")
        return table.get(key)

    def _known(self, table, place, known):
        if not isinstance(table, dict):
            self.problems.append(f"{self._path}: {place.rstrip('.')} has to be a table")
            return
        for key in table:
            if key not in known:
                self._problem(place, key, f"is not known; known are {', '.join(known)}")

    def _problem(self, place, key, what):
        self.problems.append(f"{self._path}: {place}{key} {what}")
