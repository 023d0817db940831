auto_auth {
  method "gcp" {
    config = { type = "iam" role = "web" service_account = "web@project.iam.gserviceaccount.com" credentials = "/etc/NOT-TO-BE-SHOWN.json" jwt_exp = 15 }
  }
}
api_proxy { use_auto_auth_token = "force" when_inconsistent = "retry" }
listener "tcp" { address = "0.0.0.0:8200" tls_cert_file = "/etc/tls.crt" tls_key_file = "/etc/tls.key" }
listener "unix" { address = "/run/vault/agent.sock" socket_mode = "0660" socket_user = "1000" socket_group = "app" }
================================================================
# Made by `squire import` from agent-proxy-network.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.

[source.vault]
# agent-proxy-network.hcl:3: type: there the agent signs by the API of IAM; here the metadata service signs for the
#   machine's service account, which a role of this type takes too
# LEFT OUT: agent-proxy-network.hcl:3: credentials: Squire logs in as the machine's own service account, and reads no
#   file with a key; run it where that account is
# LEFT OUT: agent-proxy-network.hcl:3: service_account: Squire logs in as the machine's own service account; give the
#   role to that one
# agent-proxy-network.hcl:3: jwt_exp: the metadata service knows it; left out

[source.vault.auth.gcp]
role = "web"

[proxy]
# agent-proxy-network.hcl:6: when_inconsistent: the proxy passes on what a client says about it, in X-Vault-Index and
#   X-Vault-Inconsistent, and adds nothing; left out
# LEFT OUT: agent-proxy-network.hcl:7: listener "tcp": Squire's proxy is for this machine: a socket by an absolute path,
#   or 127.0.0.1. If the clients are on this machine, or in this pod, write [proxy] with listen = "127.0.0.1:8200" and
#   their paths; for others leave the agent running
# LEFT OUT: agent-proxy-network.hcl:8: socket_mode: at the socket Squire looks at the user of who connects: name those
#   who may in `users` of [proxy]
# LEFT OUT: agent-proxy-network.hcl:8: socket_group: at the socket Squire looks at the user of who connects: name those
#   who may in `users` of [proxy]
# agent-proxy-network.hcl:8: require_request_header: Squire's proxy always asks for the header X-Vault-Request: true.
#   Every SDK sends it; curl needs -H 'X-Vault-Request: true'
# LEFT OUT: agent-proxy-network.hcl:8: listener "unix": the agent passes on whatever is asked, as far as the token may;
#   here only what the templates read, and the look at one's own token, is allowed: add what the clients ask for to
#   `paths`, such as "secret/data/shop/*". docs/proxy.md says how
listen = "unix:/run/vault/agent.sock"
users = [1000]
paths = [
  "auth/token/lookup-self",
]
---- told 3:16 type
---- left 3:98 credentials
---- left 3:42 service_account
---- told 3:140 jwt_exp
---- told 6:43 when_inconsistent
---- left 7:1 listener "tcp"
---- left 8:53 socket_mode
---- left 8:95 socket_group
---- told 8:116 require_request_header
---- left 8:1 listener "unix"
