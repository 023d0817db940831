vault { address = "https://vault:8200" }
auto_auth {
  method "alicloud" {
    config = { role = "web", region = "eu-central-1" }
  }
}
template {
  contents    = "x"
  destination = "/run/app/x"
}
================================================================
# Made by `squire import` from agent-alicloud.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.
# agent-alicloud.hcl:9: perms: a file without a mode is 0644 there, and everybody on the machine may read it; kept here
#   in [output]. Squire's own default is 0400
# agent-alicloud.hcl:9: destination = "/run/app/x": Squire does not replace a file that another program wrote: stop that
#   program and remove its files before the first start

[source.vault]
address = "https://vault:8200"
# LEFT OUT: agent-alicloud.hcl:3: method "alicloud": Squire has no such login: it has approle, token, kubernetes, jwt,
#   cert, userpass, ldap, aws, gcp and azure. Give the role one of these, or let the agent log in, and name its token's
#   file in auth.token.file

[output]
mode = "0644"

[[file]]
path = "/run/app/x"
inline = "x"
make_dir = true
---- left 3:3 method "alicloud"
---- told 9:3 perms
---- told 9:3 destination = "/run/app/x"
