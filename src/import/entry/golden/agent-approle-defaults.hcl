auto_auth = {
  method = {
    type = "approle"
    mount_path = "auth/team/approle"
    config = {
      role_id_file_path   = "role-id"
      secret_id_file_path = "secret-id"
      role_id             = "${ROLE_ID}"
    }
  }
  sinks {
    sink {
      type = "file"
      wrap_ttl = "5m"
      config = { path = "token", mode = 600 }
    }
  }
}
exit_after_auth = true
template_config {
  exit_on_retry_failure         = true
  static_secret_render_interval = 30
  max_connections_per_host      = 20
  lease_renewal_threshold       = 0.9
}
template {
  contents    = "{{ with secret \"secret/app\" }}password=\"{{ .Data.value }}\" ${HOME}{{ end }}"
  destination = "out/app.txt"
}
================================================================
# Made by `squire import` from agent-approle-defaults.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire render -c squire.toml`.
# agent-approle-defaults.hcl:21: exit_on_retry_failure: before the first release Squire gives up after
#   `startup_timeout`, about as long as the agent's 12 tries; afterwards it keeps what is live and goes on trying
# agent-approle-defaults.hcl:23: max_connections_per_host: Squire bounds its connections itself; left out
# agent-approle-defaults.hcl:24: lease_renewal_threshold: Squire replaces what cannot be renewed at nine tenths of its
#   life, as the agent does by default; left out
# agent-approle-defaults.hcl:19: exit_after_auth: start `squire render` in place of `squire run`: it writes the files
#   once and ends
# agent-approle-defaults.hcl:28: destination = "out/app.txt": a relative path is below output.dir here, and not below
#   the working directory: /run/squire/out/app.txt
# agent-approle-defaults.hcl:1: "role-id": a relative path is beside squire.toml here, and in the working directory
#   there
# agent-approle-defaults.hcl:28: perms: a file without a mode is 0644 there, and everybody on the machine may read it;
#   kept here in [output]. Squire's own default is 0400

startup_timeout = "5m"

[source.vault]
refresh = "30s"
# LEFT OUT: agent-approle-defaults.hcl:8: role_id: the agent reads a role only from `role_id_file_path` and passes over
#   this key; write role_id yourself if it is meant
# agent-approle-defaults.hcl:7: remove_secret_id_file_after_reading: the agent removes the file when it has read it,
#   unless told not to; Squire would keep it, and is told here to remove it

[source.vault.auth.approle]
mount = "team/approle"
role_id_file = "role-id"
secret_id_file = "secret-id"
delete_secret_id = true
# agent-approle-defaults.hcl:15: mode = 600: a mode without a 0 before it is a decimal number: the agent sets 1130;
#   taken as the 0600 that was meant
# LEFT OUT: agent-approle-defaults.hcl:12: sink "token": the token of an agent's sink: Squire writes one to an absolute
#   path, by [[source.vault.token_file]]

[secret.app]
path = "secret/app"

[output]
dir = "/run/squire"
mode = "0644"

[[file]]
# agent-approle-defaults.hcl:27: error_on_missing_key: where a field is missing, the agent writes `<no value>`, and
#   Squire publishes nothing and says which field; for one that may be missing write {{default db.field ""}}
path = "out/app.txt"
inline = 'password="{{app.value}}" ${HOME}'
---- left 8:7 role_id
---- told 7:7 remove_secret_id_file_after_reading
---- told 15:41 mode = 600
---- left 12:5 sink "token"
---- told 21:3 exit_on_retry_failure
---- told 23:3 max_connections_per_host
---- told 24:3 lease_renewal_threshold
---- told 27:1 error_on_missing_key
---- told 19:1 exit_after_auth
---- told 28:3 destination = "out/app.txt"
---- told 1:1 "role-id"
---- told 28:3 perms
