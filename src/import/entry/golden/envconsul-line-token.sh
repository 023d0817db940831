envconsul -secret app/x -vault-token hvs.NOT-TO-BE-SHOWN -sanitize -pristine -exec-kill-signal=SIGQUIT -exec-kill-timeout 5s -once app "a b"
================================================================
# Made by `squire import` from envconsul-line-token.sh.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.

[source.vault]

[secret.x]
path = "app/x"

[process]
# LEFT OUT: envconsul-line-token.sh:1: -vault-token: a token is on the command line; put it into a file that only Squire
#   reads and name that in auth.token.file, or set VAULT_TOKEN
# envconsul-line-token.sh:1: -once: envconsul does not watch with it; Squire does, and its on_change is "none"
command = ["app", "a b"]
on_change = "none"
stop_signal = "SIGQUIT"
stop_timeout = "5s"
env_clear = true
env_from = [{ secret = "x", prefix = "app_x_", sanitize = true }]
---- left 1:1 -vault-token
---- told 1:1 -once
