envconsul -secret app/x -vault-token hvs.NOT-TO-BE-SHOWN -sanitize -pristine -exec-kill-signal=SIGQUIT -exec-kill-timeout 5s -once app "a b"
================================================================
# Made by `squire import` from envconsul-line-token.sh.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.

[source.vault]

[secret.x]
path = "app/x"

[output]
dir = "/run/squire"

[[file]]
# Every field as a variable; the shell of [process] reads it before the program begins.
path = "variables.sh"
inline = '''
{{#each x}}
export app_x_{{env_name (replace (replace @key "-" "_") "." "_")}}={{shell this}}
{{/each}}
'''
mode = "0400"

[process]
# LEFT OUT: envconsul-line-token.sh:1: -vault-token: a token is on the command line; put it into a file that only Squire
#   reads and name that in auth.token.file, or set VAULT_TOKEN
command = ["sh", "-c", "set -a; . \"$1\"; shift; set +a; exec \"$@\"", "sh", "/run/squire/variables.sh", "app", "a b"]
on_change = "none"
stop_signal = "SIGQUIT"
stop_timeout = "5s"
env_clear = true
---- left 1:1 -vault-token
