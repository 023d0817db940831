vault { default_lease_duration = "60s" }
splay   = "10s"
timeout = "5s"
secret { path = "secret/app" no_prefix = true }
exec { command = "app" }
================================================================
# Made by `squire import` from envconsul-lesser.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.
# LEFT OUT: envconsul-lesser.hcl:2: splay: Squire makes no random pause before a restart; give the machines different
#   `rollout.window`s
# envconsul-lesser.hcl:3: timeout: Squire has no such time; it waits for the process, and `startup_timeout` bounds the
#   first release

[source.vault]
refresh = "1m"

[secret.app]
path = "secret/app"

[process]
# envconsul-lesser.hcl:4: secret "secret/app": a shell knows no variable with a hyphen or a dot, so such characters
#   become `_` here
command = ["app"]
env_from = [{ secret = "app", sanitize = true }]
---- told 4:1 secret "secret/app"
---- left 2:1 splay
---- told 3:1 timeout
