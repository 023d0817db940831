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

[process]
# LEFT OUT: envconsul.hcl:13: splay: Squire makes no random pause before a restart; give the machines different
#   `rollout.window`s
command = ["app", "--port", "80"]
stop_timeout = "2s"
env_clear = true
env_deny = ["X"]
env_from = [{ secret = "app", prefix = "APP_", upper = true, sanitize = true }, { secret = "creds_app", prefix = "DATABASE_CREDS_APP_", upper = true, sanitize = true }]

[process.env]
PASS_WORD = '{{lookup one "pass-word"}}'
---- told 1:55 retry
---- left 13:3 splay
---- told 17:1 kill_signal
