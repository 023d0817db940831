vault { address = "https://v:8200" agent_address = "x" }
auto_auth {
  method "aws" {
    config = { type = "iam", role = "app" }
  }
  sink "file" { config = { path = "/run/token" } dh_type = "curve25519" dh_path = "/run/dh" }
}
cache { use_auto_auth_token = true }
api_proxy { use_auto_auth_token = "force" }
listener "tcp" {
  address     = "127.0.0.1:8100"
  tls_disable = true
}
log_level = "debug"
log_file  = "/var/log/agent.log"
telemetry { disable_hostname = true }
vaultt {}
================================================================
# Made by `squire import` from agent-proxy.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.
# agent-proxy.hcl:14: log_level: the level of Squire's log is in the variable SQUIRE_LOG
# agent-proxy.hcl:15: log_file: Squire logs to stderr; let the service manager write the file
# agent-proxy.hcl:16: telemetry: Squire has metrics for Prometheus: add [agent] with listen = "127.0.0.1:9790"
# agent-proxy.hcl:17: vaultt: the agent has no such key in the configuration and passes over it, so it does nothing;
#   left out

[source.vault]
# agent-proxy.hcl:1: agent_address: the agent has no such key in vault and passes over it, so it does nothing; left out
address = "https://v:8200"

[source.vault.auth.aws]
role = "app"

[[source.vault.token_file]]
# LEFT OUT: agent-proxy.hcl:6: dh_type: Squire does not encrypt a token for a reader; wrap it with `wrap_ttl`, or
#   protect the file by mode and owner
# LEFT OUT: agent-proxy.hcl:6: dh_path: Squire does not encrypt a token for a reader; wrap it with `wrap_ttl`, or
#   protect the file by mode and owner
# agent-proxy.hcl:6: sink "/run/token": whoever reads this file can do what the token can: take its table out if nobody
#   does, as is usual beside templates
path = "/run/token"
mode = "0640"
make_dir = true

[proxy]
# agent-proxy.hcl:8: cache: equal requests at the same time are one; what is leased is made for each client, and no
#   value is kept. For that add cache = "10s"
# agent-proxy.hcl:13: require_request_header: Squire's proxy always asks for the header X-Vault-Request: true. Every SDK
#   sends it; curl needs -H 'X-Vault-Request: true'
# LEFT OUT: agent-proxy.hcl:10: listener "tcp": the agent passes on whatever is asked, as far as the token may; here
#   only what the templates read, and the look at one's own token, is allowed: add what the clients ask for to `paths`,
#   such as "secret/data/shop/*". docs/proxy.md says how
listen = "127.0.0.1:8100"
paths = [
  "auth/token/lookup-self",
]
---- told 1:36 agent_address
---- left 6:50 dh_type
---- left 6:73 dh_path
---- told 6:3 sink "/run/token"
---- told 8:1 cache
---- told 13:1 require_request_header
---- left 10:1 listener "tcp"
---- told 14:1 log_level
---- told 15:1 log_file
---- told 16:1 telemetry
---- told 17:1 vaultt
