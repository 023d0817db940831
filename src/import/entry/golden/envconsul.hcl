vault { address = "https://v:8200" renew_token = true retry { enabled = true } }
upcase = true
sanitize = true
secret { path = "secret/app" no_prefix = true format = "APP_{{ key }}" }
secret { path = "database/creds/app" }
secret {
  path = "secret/one"
  no_prefix = true
  key { name = "pass-word" format = "" }
}
exec {
  command = "app --port 80"
  splay = "5s"
  kill_timeout = "2s"
  env { pristine = true blacklist = ["X"] }
}
kill_signal = "SIGTERM"
================================================================
# Made by `squire import` from envconsul.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.
# envconsul.hcl:17: kill_signal: Squire ends at SIGTERM and SIGINT; left out

[source.vault]
# envconsul.hcl:1: retry: Squire tries again for as long as it runs, further and further apart; a server that is away
#   ends nothing
address = "https://v:8200"

[secret.app]
path = "secret/app"

[secret.creds_app]
path = "database/creds/app"

[secret.one]
path = "secret/one"

[output]
dir = "/run/squire"

[[file]]
# Every field as a variable; the shell of [process] reads it before the program begins.
path = "variables.sh"
inline = '''
{{#each app}}
export APP_{{env_name (upper (replace (replace @key "-" "_") "." "_"))}}={{shell this}}
{{/each}}
{{#each creds_app}}
export DATABASE_CREDS_APP_{{env_name (upper (replace (replace @key "-" "_") "." "_"))}}={{shell this}}
{{/each}}
export PASS_WORD={{shell (lookup one "pass-word")}}
'''
mode = "0400"

[process]
# LEFT OUT: envconsul.hcl:13: splay: Squire spreads what it asks of a server, not the restarts of a fleet; keep machines
#   apart by `rollout.window`
command = ["sh", "-c", "set -a; . \"$1\"; shift; set +a; exec \"$@\"", "sh", "/run/squire/variables.sh", "app", "--port", "80"]
stop_timeout = "2s"
env_clear = true
env_deny = ["X"]
---- told 1:55 retry
---- left 13:3 splay
---- told 17:1 kill_signal
