vault {
  address                = "https://v:8200"
  vault_agent_token_file = "/run/token"
  unwrap_token           = false
  renew_token            = false
  grace                  = "5m"
  retry {
    attempts    = 5
    backoff     = "250ms"
    max_backoff = "1m"
  }
  ssl {
    enabled = true
    verify  = false
    ca_cert = "/etc/ca.pem"
  }
}
consul { address = "127.0.0.1:8500" retry { enabled = true } auth { enabled = false } }
reload_signal = "SIGHUP"
kill_signal   = "SIGINT"
max_stale     = "10m"
log_level     = "warn"
wait          = "2s:4s"
syslog { enabled = true facility = "LOCAL5" }
deduplicate { enabled = true prefix = "x/" }
template {
  source               = "app.ctmpl"
  destination          = "/run/app.conf"
  perms                = 0444
  user                 = "app"
  group                = "app"
  error_on_missing_key = true
  command              = "pkill -HUP nginx || true"
  command_timeout      = "60s"
  error_fatal          = true
}
exec {
  command       = "/usr/bin/app -c /run/app.conf"
  splay         = "5s"
  kill_signal   = "SIGTERM"
  kill_timeout  = "10s"
  reload_signal = "SIGHUP"
  env {
    pristine  = false
    custom    = ["PORT=80", "X={{y}}"]
    allowlist = ["PATH", "APP_*"]
    denylist  = ["APP_SECRET"]
  }
}
================================================================
# Made by `squire import` from ct-child.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.
# ct-child.hcl:23: wait: Squire waits this long for further changes before a rollout, and not for a longest time:
#   `rollout.settle`
# ct-child.hcl:19: reload_signal: Squire reads its configuration anew at `squire reload`, and at SIGHUP if it has no
#   process; left out
# ct-child.hcl:20: kill_signal: Squire ends at SIGTERM and SIGINT; left out
# ct-child.hcl:18: consul: Squire does not ask Consul; what a template asks of it is named there
# ct-child.hcl:21: max_stale: it is about Consul; left out
# ct-child.hcl:25: deduplicate: it is about queries of Consul; left out
# ct-child.hcl:24: syslog: Squire logs to stderr, which the service manager takes; left out
# ct-child.hcl:22: log_level: the level of Squire's log is in the variable SQUIRE_LOG
# ct-child.hcl:28: destination = "/run/app.conf": Squire does not replace a file that another program wrote: stop that
#   program and remove its files before the first start
# LEFT OUT: ct-child.hcl:28: command: beside its command, a changed file restarts or signals the process there; here
#   only the command runs. Leave out `on_change` of the file to have the process's own

[source.vault]
# ct-child.hcl:14: verify = false: the server's certificate is not verified, so anybody can be the server; Squire warns
#   at each start. Name the authority with ca_file instead
# ct-child.hcl:5: renew_token: somebody else renews the token; Squire renews it too if it may, which does no harm
# ct-child.hcl:7: retry: Squire tries again for as long as it runs, further and further apart; a server that is away
#   ends nothing
# ct-child.hcl:6: grace: consul-template removed this key years ago, so it does nothing; left out
address = "https://v:8200"
ca_file = "/etc/ca.pem"
insecure_tls = true

[source.vault.auth.token]
file = "/run/token"

[secret.app]
path = "secret/data/app"

[[file]]
# ct-child.hcl:35: error_fatal: an error ends consul-template; Squire keeps the files that are live, and says so
path = "/run/app.conf"
inline = '''
{{app.value}}
'''
mode = "0444"
owner = "app"
group = "app"
make_dir = true
on_change = { signal = "SIGHUP", process = "nginx" }

[process]
# LEFT OUT: ct-child.hcl:39: splay: Squire makes no random pause before a restart; give the machines different
#   `rollout.window`s
command = ["env", "PORT=80", "X={{y}}", "/usr/bin/app", "-c", "/run/app.conf"]
on_change = "SIGHUP"
stop_timeout = "10s"
env_clear = true
env_pass = ["PATH", "APP_*"]
env_deny = ["APP_SECRET"]

[rollout]
settle = "2s"
---- told 14:5 verify = false
---- told 5:3 renew_token
---- told 7:3 retry
---- told 6:3 grace
---- told 23:1 wait
---- told 35:3 error_fatal
---- left 39:3 splay
---- told 19:1 reload_signal
---- told 20:1 kill_signal
---- told 18:1 consul
---- told 21:1 max_stale
---- told 25:1 deduplicate
---- told 24:1 syslog
---- told 22:1 log_level
---- told 28:3 destination = "/run/app.conf"
---- left 28:3 command
