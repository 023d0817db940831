"""Checks a compose file against the compose specification's JSON schema, and against the files that it works with.

    compose_check.py SCHEMA COMPOSE_FILE

Prints each problem as a line, and nothing if there is none. The schema is the one of https://github.com/compose-spec/compose-spec, in the
package dclint.
"""

import json
import pathlib
import re
import sys

import jsonschema
import yaml

schema, file = (pathlib.Path(argument) for argument in sys.argv[1:])
compose = yaml.safe_load(file.read_text())
for error in jsonschema.Draft7Validator(json.loads(schema.read_text())).iter_errors(compose):
    print(f"{'.'.join(map(str, error.absolute_path))}: {error.message}")

services = compose["services"]
here = pathlib.Path(__file__).parents[2] / "deploy/compose"
root = here.parents[1]

# What the configuration and the application ask of the environment is there.
asked = set(re.findall(r"\$\{([A-Z_]+)\}", (here / "squire.toml").read_text()))
asked |= set(re.findall(r'environ\["([A-Z_]+)"\]', (here / "app.py").read_text()))
asked |= set(re.findall(r'env \\"([A-Z_]+)\\"', (here / "squire.toml").read_text()))
for name in sorted(asked - set(services["app"]["environment"])):
    print(f"services.app.environment: {name} is missing")

# Whom a service waits for has a health check, or ends.
for name, service in services.items():
    for other, how in service.get("depends_on", {}).items():
        if how["condition"] == "service_healthy" and "healthcheck" not in services[other]:
            print(f"services.{name}.depends_on: {other} has no healthcheck")

# What is built is there, and nothing but the two ports of this machine is opened.
for name, service in services.items():
    if build := service.get("build"):
        dockerfile = (root / build["dockerfile"]).read_text()
        if f"AS {build['target']}\n" not in dockerfile:
            print(f"services.{name}.build: there is no {build['target']}")
        for source in re.findall(r"^COPY (?!--from)(\S+) ", dockerfile, re.MULTILINE):
            if not (root / source).exists():
                print(f"{build['dockerfile']}: there is no {source}")
    for port in service.get("ports", []):
        if not port.startswith("127.0.0.1:"):
            print(f"services.{name}.ports: {port} is open to others")

# The secrets that the set-up is given are JSON, and are those of the servers.
given = json.loads(services["setup"]["environment"]["SETUP_SECRETS"])
if given["database"]["main"]["password"] != services["postgres"]["environment"]["POSTGRES_PASSWORD"]:
    print("the password of PostgreSQL differs")
if f">{given['secret']['redis']['password']} " not in compose["configs"]["redis"]["content"]:
    print("the password of Redis differs")
