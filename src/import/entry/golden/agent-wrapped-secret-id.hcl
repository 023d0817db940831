vault { address = "http://127.0.0.1:8200" tls_skip_verify = true }
auto_auth {
  method "approle" {
    config {
      role_id_file_path = "/run/role-id"
      secret_id_file_path = "/run/wrapped"
      secret_id_response_wrapping_path = "auth/approle/role/app/secret-id"
    }
  }
}
================================================================
# Made by `squire import` from agent-wrapped-secret-id.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.

[source.vault]
# agent-wrapped-secret-id.hcl:1: tls_skip_verify: the server's certificate is not verified, so anybody can be the
#   server; Squire warns at each start. Name the authority with ca_file instead
address = "http://127.0.0.1:8200"
insecure_tls = true
# agent-wrapped-secret-id.hcl:7: secret_id_response_wrapping_path: Squire compares the path that made the wrapping token
#   with that of its own role, and needs no path here
# agent-wrapped-secret-id.hcl:6: remove_secret_id_file_after_reading: the agent removes the file when it has read it,
#   unless told not to; Squire would keep it, and is told here to remove it

[source.vault.auth.approle]
role_id_file = "/run/role-id"
secret_id_file = "/run/wrapped"
unwrap = true
---- told 1:43 tls_skip_verify
---- told 7:7 secret_id_response_wrapping_path
---- told 6:7 remove_secret_id_file_after_reading
