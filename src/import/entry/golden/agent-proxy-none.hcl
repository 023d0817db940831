vault { address = "https://vault:8200" }
auto_auth {
  method "ldap" {
    mount_path = "auth/directory"
    config = {
      username = "service"
      password_file_path = "/etc/agent/password"
      remove_password_after_reading = false
    }
  }
}
api_proxy { use_auto_auth_token = false }
listener "unix" { address = "/run/vault/agent.sock" tls_disable = true }
listener "tcp" { address = "0.0.0.0:8200" tls_cert_file = "/etc/tls.crt" tls_key_file = "/etc/tls.key" }
================================================================
# Made by `squire import` from agent-proxy-none.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.
# LEFT OUT: agent-proxy-none.hcl:13: listener "unix": without `use_auto_auth_token` the agent passes each client's own
#   token on and lends none. Squire's proxy lends its own, so there is none here: let these clients ask the server
#   itself
# LEFT OUT: agent-proxy-none.hcl:14: listener "tcp": without `use_auto_auth_token` the agent passes each client's own
#   token on and lends none. Squire's proxy lends its own, so there is none here: let these clients ask the server
#   itself

[source.vault]
address = "https://vault:8200"

[source.vault.auth.ldap]
mount = "directory"
username = "service"
password_file = "/etc/agent/password"
---- left 13:1 listener "unix"
---- left 14:1 listener "tcp"
