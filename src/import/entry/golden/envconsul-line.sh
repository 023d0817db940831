VAULT_ADDR=http://v:8200 envconsul -vault-addr=http://v:8200 -vault-renew-token=false \
  -secret="secret/app" -secret secret/other -no-prefix -upcase -log-level debug -kill-signal SIGTERM -- app --port "8 0"
================================================================
# Made by `squire import` from envconsul-line.sh.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.

[source.vault]
address = "http://v:8200"

[secret.app]
path = "secret/app"

[secret.other]
path = "secret/other"

[process]
# envconsul-line.sh:1: -log-level: the level of Squire's log is in the variable SQUIRE_LOG
# envconsul-line.sh:1: -kill-signal: Squire has signals of its own for itself; left out
# envconsul-line.sh:1: secret "secret/app": a shell knows no variable with a hyphen or a dot, so such characters become
#   `_` here
# envconsul-line.sh:1: secret "secret/other": a shell knows no variable with a hyphen or a dot, so such characters
#   become `_` here
command = ["app", "--port", "8 0"]
env_from = [{ secret = "app", upper = true, sanitize = true }, { secret = "other", upper = true, sanitize = true }]
---- told 1:1 -log-level
---- told 1:1 -kill-signal
---- told 1:1 secret "secret/app"
---- told 1:1 secret "secret/other"
