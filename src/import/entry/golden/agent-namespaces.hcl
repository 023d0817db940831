vault { address = "https://vault:8200" namespace = "admin/team" }
auto_auth {
  method "approle" {
    namespace = "admin"
    config = { role_id_file_path = "/etc/agent/role-id" secret_id_file_path = "/etc/agent/secret-id" remove_secret_id_file_after_reading = false }
  }
}
template {
  contents = "{{ with secret \"secret/data/a\" }}{{ .Data.data.x }}{{ end }}"
  destination = "/run/app/a"
  perms = "0400"
  error_on_missing_key = true
}
================================================================
# Made by `squire import` from agent-namespaces.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.
# agent-namespaces.hcl:10: destination = "/run/app/a": Squire does not replace a file that another program wrote: stop
#   that program and remove its files before the first start

[source.vault]
address = "https://vault:8200"
namespace = "admin/team"
# LEFT OUT: agent-namespaces.hcl:4: namespace: the login's namespace is another than the secrets'; Squire uses one for
#   both, and that of the secrets stands here: give the role to it, or take the login's, and write what is missing
#   before the paths of the secrets

[source.vault.auth.approle]
role_id_file = "/etc/agent/role-id"
secret_id_file = "/etc/agent/secret-id"

[secret.a]
path = "secret/data/a"

[[file]]
path = "/run/app/a"
inline = "{{a.x}}"
mode = "0400"
make_dir = true
---- left 4:5 namespace
---- told 10:3 destination = "/run/app/a"
