#!/bin/sh
# starts the shop
set -eu
exec envconsul -secret=secret/data/app/web \
  -no-prefix -upcase -- node server.js
================================================================
# Made by `squire import` from envconsul-script.sh.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.

[source.vault]

[secret.web]
path = "secret/data/app/web"

[process]
# envconsul-script.sh:1: secret "secret/data/app/web": a shell knows no variable with a hyphen or a dot, so such
#   characters become `_` here
command = ["node", "server.js"]
env_from = [{ secret = "web", upper = true, sanitize = true }]
---- told 1:1 secret "secret/data/app/web"
