vault {
  address = "https://v:8200"
  ca_path = "/etc/ssl/vault"
  client_cert = "/etc/agent/cert.pem"
  client_key = "/etc/agent/key.pem"
  tls_server_name = "vault.internal"
}
auto_auth { method "cert" { namespace = "ns" mount_path = "auth/cert" config { name = "web" reload = true } } }
template { contents = "{{ with secret \"secret/data/app\" }}{{ .Data.data.x }}{{ end }}" destination = "/run/x" perms = "0400" }
================================================================
# Made by `squire import` from agent-cert.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.
# agent-cert.hcl:9: destination = "/run/x": Squire does not replace a file that another program wrote: stop that program
#   and remove its files before the first start

[source.vault]
# LEFT OUT: agent-cert.hcl:3: ca_path: a directory is named by the variable VAULT_CAPATH only, and not beside ca_file;
#   or put its files into one and write ca_file
address = "https://v:8200"
namespace = "ns"
client_cert_file = "/etc/agent/cert.pem"
client_key_file = "/etc/agent/key.pem"
tls_server_name = "vault.internal"
# agent-cert.hcl:8: reload: Squire has no such switch; left out

[source.vault.auth.cert]
name = "web"

[secret.app]
path = "secret/data/app"

[[file]]
# agent-cert.hcl:9: error_on_missing_key: where a field is missing, the agent writes `<no value>`, and Squire publishes
#   nothing and says which field; for one that may be missing write {{default db.field ""}}
path = "/run/x"
inline = "{{app.x}}"
mode = "0400"
make_dir = true
---- left 3:3 ca_path
---- told 8:93 reload
---- told 9:1 error_on_missing_key
---- told 9:90 destination = "/run/x"
