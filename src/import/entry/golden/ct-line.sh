VAULT_ADDR=http://v:8200 consul-template -config missing.hcl -vault-addr http://v:8200 -vault-ssl-verify=false \
  -vault-token=s.1 -consul-addr=c:8500 -template "app.ctmpl:/run/a/app.conf:systemctl reload app" \
  -template app.ctmpl:/run/a/second -wait=2s:4s -exec "app --port 80" -exec-kill-signal=SIGTERM -once -unknown x
================================================================
# Made by `squire import` from ct-line.sh.
# Look at it with `squire check -c squire.toml`, start it with `squire render -c squire.toml`.
# LEFT OUT: ct-line.sh:1: -unknown: is no flag that the import knows; it is left out
# LEFT OUT: ct-line.sh:1: -config "missing.hcl": this file cannot be read; import it beside the line
# ct-line.sh:1: wait: Squire waits this long for further changes before a rollout, and not for a longest time:
#   `rollout.settle`
# ct-line.sh:1: once: start `squire render` in place of `squire run`: it writes the files once and ends
# ct-line.sh:1: perms: a file without a mode is 0644 there, and everybody on the machine may read it; kept here in
#   [output]. Squire's own default is 0400
# ct-line.sh:1: destination = "/run/a/app.conf": Squire does not replace a file that another program wrote: stop that
#   program and remove its files before the first start
# LEFT OUT: ct-line.sh:1: command: beside its command, a changed file restarts or signals the process there; here only
#   the command runs. Leave out `on_change` of the file to have the process's own

[source.vault]
# ct-line.sh:1: verify = false: the server's certificate is not verified, so anybody can be the server; Squire warns at
#   each start. Name the authority with ca_file instead
# LEFT OUT: ct-line.sh:1: token: a token is in the file itself; put it into a file that only Squire reads and name that
#   in auth.token.file, or set VAULT_TOKEN
address = "http://v:8200"
insecure_tls = true

[secret.app]
path = "secret/data/app"

[output]
mode = "0644"

[[file]]
# app.ctmpl:1: error_on_missing_key: where a field is missing, the agent writes `<no value>`, and Squire publishes
#   nothing and says which field; for one that may be missing write {{default db.field ""}}
path = "/run/a/app.conf"
inline = '''
{{app.value}}
'''
make_dir = true
on_change = { run = ["systemctl", "reload", "app"] }

[[file]]
path = "/run/a/second"
inline = '''
{{app.value}}
'''
make_dir = true

[process]
command = ["app", "--port", "80"]

[rollout]
settle = "2s"
---- left 1:1 -unknown
---- left 1:1 -config "missing.hcl"
---- told 1:1 verify = false
---- left 1:1 token
---- told 1:1 wait
---- told 1:1 error_on_missing_key
---- told 1:1 once
---- told 1:1 perms
---- told 1:1 destination = "/run/a/app.conf"
---- left 1:1 command
