vault { address = "https://vault:8200" }
auto_auth {
  method "kubernetes" { config = { role = "app" } }
}
cache {
  use_auto_auth_token = true
  persist "kubernetes" { path = "/vault/agent-cache" }
}
listener "tcp" {
  address = "localhost:8100"
  tls_disable = true
  require_request_header = true
  agent_api { enable_quit = true }
}
listener "tcp" {
  address = "0.0.0.0:9102"
  tls_disable = true
  role = "metrics_only"
}
listener "tcp" { address = "127.0.0.1:8300" tls_disable = true }
template {
  destination = "/run/app/db"
  contents = "{{ with secret \"kv/shop/db\" }}{{ .Data.password }}{{ end }}{{ with secret \"secret/data/shop/web\" }}{{ .Data.data.key }}{{ end }}{{ with secret \"database/creds/shop\" }}{{ .Data.username }}{{ end }}{{ with secret \"secret/data/*/x\" }}{{ .Data.data.a }}{{ end }}{{ range secrets \"secret/metadata/users\" }}{{ . }}{{ end }}"
  error_on_missing_key = true
  perms = "0400"
}
================================================================
# Made by `squire import` from agent-proxy-paths.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.
# agent-proxy-paths.hcl:22: destination = "/run/app/db": Squire does not replace a file that another program wrote: stop
#   that program and remove its files before the first start

[source.vault]
address = "https://vault:8200"

[source.vault.auth.kubernetes]
role = "app"

[secret.db]
path = "kv/shop/db"

[secret.web]
path = "secret/data/shop/web"

[secret.shop]
path = "database/creds/shop"

[secret.x]
path = "secret/data/*/x"

[secret.users]
path = "secret/users"
list = true

[[file]]
path = "/run/app/db"
inline = "{{db.password}}{{web.key}}{{shop.username}}{{x.a}}{{#each users as |entry key|}}{{key}}{{/each}}"
mode = "0400"
make_dir = true

[proxy]
# agent-proxy-paths.hcl:5: cache.persist: token and leases outlive a restart in `agent.ledger`, which has to be in
#   memory, as /run is; in a pod in a volume of both containers
# agent-proxy-paths.hcl:5: cache: equal requests at the same time are one; what is leased is made for each client, and
#   no value is kept. For that add cache = "10s"
# agent-proxy-paths.hcl:13: agent_api: orders go to Squire's own socket (`squire status`, `squire reload`); left out
# LEFT OUT: agent-proxy-paths.hcl:9: listener "tcp": the agent passes on whatever is asked, as far as the token may;
#   here only what the templates read, and the look at one's own token, is allowed: add what the clients ask for to
#   `paths`, such as "secret/data/shop/*". docs/proxy.md says how
# agent-proxy-paths.hcl:15: listener "tcp": Squire's own figures are at /metrics of `agent.listen`, under names of their
#   own: docs/metrics.md
# LEFT OUT: agent-proxy-paths.hcl:20: listener "tcp": Squire's proxy listens at one place: point its clients to that
#   one, or leave the agent running for them
listen = "127.0.0.1:8100"
auto_auth = "if_missing"
paths = [
  "auth/token/lookup-self",
  "kv/shop/db",
  "kv/data/shop/db",
  "secret/data/shop/web",
  "database/creds/shop",
  "secret/users/*",
  "secret/data/users/*",
  "secret/metadata/users/*",
]

[agent]
listen = "0.0.0.0:9102"
ledger = "/run/squire/ledger"
---- told 5:1 cache.persist
---- told 5:1 cache
---- told 13:3 agent_api
---- left 9:1 listener "tcp"
---- told 15:1 listener "tcp"
---- left 20:1 listener "tcp"
---- told 22:3 destination = "/run/app/db"
