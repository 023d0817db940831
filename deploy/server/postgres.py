"""PostgreSQL: its groups, the connection of the database engine, and what a credential may do. Everything is asked by psql."""

import os
import pathlib
import shutil
import subprocess
from dataclasses import dataclass

from report import Problem, Refused

RIGHTS = ("readonly", "readwrite", "admin")
GROUPS = pathlib.Path(__file__).with_name("groups.sql")

# The user's own name, the groups that it is in, and whether it may make tables.
WHO = """
SELECT session_user, string_agg(rolname, ' ' ORDER BY rolname), has_schema_privilege('public', 'CREATE')
FROM pg_roles WHERE rolname = ANY(string_to_array(:'groups', ' ')) AND pg_has_role(session_user, oid, 'MEMBER')
"""


def must_have_psql():
    if not shutil.which("psql"):
        raise Refused("there is no psql: install PostgreSQL's client (Debian: apt-get install postgresql-client)")


@dataclass
class Database:
    app: str
    name: str
    address: str
    database: str
    sslmode: str
    username: str | None
    password: str | None

    @property
    def connection(self):
        return f"{self.app}-{self.name}"

    def group(self, rights):
        return f"{self.app}_{self.name}_{rights}".replace("-", "_")

    def fields(self):
        url = f"postgresql://{{{{username}}}}:{{{{password}}}}@{self.address}/{self.database}?sslmode={self.sslmode}"
        fields = {
            "plugin_name": "postgresql-database-plugin",
            "allowed_roles": [f"{self.app}-*"],
            "connection_url": url,
            # The server sends PostgreSQL a verifier and not the password, so its log cannot show it.
            "password_authentication": "scram-sha-256",
        }
        return {**fields, "username": self.username} if self.username else fields

    def unreadable(self):
        return {"password": self.password} if self.password else {}

    @staticmethod
    def shown(held):
        return {**held, **held.get("connection_details", {})}

    def must_let_in(self):
        may = self.ask(self.username, self.password, "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user")
        if may.strip() != "t":
            raise Refused(f"database.{self.name}: the user of --secrets may not make users (CREATEROLE)")

    def ensure_groups(self, report):
        """Makes the groups and gives them their rights. Where that changes nothing, it is rolled back with a dry run's."""
        variables = {rights: self.group(rights) for rights in RIGHTS}
        text = GROUPS.read_text()
        if report.dry_run:
            text = text.replace("COMMIT;", "ROLLBACK;")
        before, after = self.ask(self.username, self.password, text, variables).split()
        names = f"the groups {', '.join(variables.values())} in {self.database}"
        if before == after:
            report.left(names)
        else:
            report.changed(names, "made, or their rights differed")

    def ask(self, username, password, statements, variables=None):
        """The answer of psql. The password is in its environment, which only we and root can read."""
        host, _, port = self.address.rpartition(":")
        environment = {
            "PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "PGHOST": host, "PGPORT": port, "PGDATABASE": self.database,
            "PGSSLMODE": self.sslmode, "PGUSER": username, "PGPASSWORD": password, "PGCONNECT_TIMEOUT": "10",
        }
        environment.update((name, os.environ[name]) for name in ("HOME", "PGSSLROOTCERT") if name in os.environ)
        command = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1"]
        for name, value in (variables or {}).items():
            command += ["-v", f"{name}={value}"]
        done = subprocess.run(command, input=statements, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Refused(f"{self.address}/{self.database}: {done.stderr.strip() or done.returncode}")
        return done.stdout


@dataclass
class Role:
    name: str
    database: Database
    rights: str
    ttl: str
    max_ttl: str

    def fields(self):
        group = self.database.group(self.rights)
        creation = [f"CREATE ROLE \"{{{{name}}}}\" LOGIN PASSWORD '{{{{password}}}}' VALID UNTIL '{{{{expiration}}}}' IN ROLE \"{group}\""]
        revocation = ['DROP ROLE IF EXISTS "{{name}}"']
        if self.rights == "admin":
            # What it makes belongs to the group. What it made under its own name all the same goes to the group in the end.
            creation.append(f'ALTER ROLE "{{{{name}}}}" SET role = "{group}"')
            revocation = [f'REASSIGN OWNED BY "{{{{name}}}}" TO "{group}"', 'DROP OWNED BY "{{name}}"', *revocation]
        return {
            "db_name": self.database.connection,
            "creation_statements": creation,
            "revocation_statements": revocation,
            "default_ttl": self.ttl,
            "max_ttl": self.max_ttl,
        }

    def try_out(self, username, password):
        """Logs in, and compares the rights; what it found."""
        at = RIGHTS.index(self.rights)
        groups = [self.database.group(rights) for rights in RIGHTS]
        try:
            answer = self.database.ask(username, password, WHO, {"groups": " ".join(groups)})
        except Refused as refused:
            raise Problem(f"a credential of database/creds/{self.name} does not log in: {refused}") from None
        user, member, creates = answer.strip().split("|")
        if user != username or member != " ".join(sorted(groups[: at + 1])):
            raise Problem(f"a credential of database/creds/{self.name} has other rights than {groups[at]}: it is in {member}")
        if (creates == "t") != (self.rights == "admin"):
            hint = "before PostgreSQL 15 anybody may make tables: REVOKE CREATE ON SCHEMA public FROM PUBLIC"
            raise Problem(f"a credential of database/creds/{self.name} {'may' if creates == 't' else 'may not'} make tables; {hint}")
        return f"logged in, is in {groups[at]}, {'may' if creates == 't' else 'may not'} make tables, and was given back"
