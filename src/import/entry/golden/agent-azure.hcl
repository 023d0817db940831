auto_auth {
  method "azure" {
    config = {
      role = "web"
      resource = "https://vault.example.com"
      client_id = "00000000-0000-0000-0000-000000000001"
      object_id = "00000000-0000-0000-0000-000000000002"
      scope = "https://vault.example.com/.default"
      authenticate_from_environment = true
    }
  }
}
template { contents = "x" destination = "/run/x" perms = "0400" }
================================================================
# Made by `squire import` from agent-azure.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.
# agent-azure.hcl:13: destination = "/run/x": Squire does not replace a file that another program wrote: stop that
#   program and remove its files before the first start

[source.vault]
# LEFT OUT: agent-azure.hcl:7: object_id: Squire names a managed identity by its client id; write that into client_id
# LEFT OUT: agent-azure.hcl:8: scope: Squire asks the metadata service, which takes a `resource`: the scope without
#   `/.default` at its end
# LEFT OUT: agent-azure.hcl:9: authenticate_from_environment: Squire logs in by the machine's managed identity, and not
#   by AZURE_CLIENT_SECRET and its kin

[source.vault.auth.azure]
role = "web"
resource = "https://vault.example.com"
client_id = "00000000-0000-0000-0000-000000000001"

[[file]]
path = "/run/x"
inline = "x"
mode = "0400"
make_dir = true
---- left 7:7 object_id
---- left 8:7 scope
---- left 9:7 authenticate_from_environment
---- told 13:27 destination = "/run/x"
