envconsul -vault-namespace=team -secret=secret/app -no-prefix -once -exec-splay=5s -exec-kill-signal=SIGKILL -exec-kill-timeout=soon -new-flag=1 -- ./app
================================================================
# Made by `squire import` from envconsul-line-lesser.sh.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.

[source.vault]
namespace = "team"

[secret.app]
path = "secret/app"

[process]
# envconsul-line-lesser.sh:1: -once: envconsul does not watch with it; Squire does, and its on_change is "none"
# LEFT OUT: envconsul-line-lesser.sh:1: -exec-splay: Squire makes no random pause before a restart; give the machines
#   different `rollout.window`s
# LEFT OUT: envconsul-line-lesser.sh:1: -exec-kill-signal: is no signal that a process can handle; Squire sends SIGTERM
# LEFT OUT: envconsul-line-lesser.sh:1: -exec-kill-timeout: is no duration; write one into process.stop_timeout
# LEFT OUT: envconsul-line-lesser.sh:1: -new-flag: is no flag that the import knows; it is left out
# envconsul-line-lesser.sh:1: secret "secret/app": a shell knows no variable with a hyphen or a dot, so such characters
#   become `_` here
command = ["./app"]
on_change = "none"
env_from = [{ secret = "app", sanitize = true }]
---- told 1:1 -once
---- left 1:1 -exec-splay
---- left 1:1 -exec-kill-signal
---- left 1:1 -exec-kill-timeout
---- left 1:1 -new-flag
---- told 1:1 secret "secret/app"
