vault { address = "https://vault:8200" }
auto_auth {
  method "kerberos" {
    config = { username = "web", service = "HTTP/vault" }
  }
}
template {
  contents    = "x"
  destination = "/run/app/x"
}
================================================================
# Made by `squire import` from agent-kerberos.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.
# agent-kerberos.hcl:9: perms: a file without a mode is 0644 there, and everybody on the machine may read it; kept here
#   in [output]. Squire's own default is 0400
# agent-kerberos.hcl:9: destination = "/run/app/x": Squire does not replace a file that another program wrote: stop that
#   program and remove its files before the first start

[source.vault]
address = "https://vault:8200"
# LEFT OUT: agent-kerberos.hcl:3: method "kerberos": Squire has no such login: it has approle, token, kubernetes, jwt,
#   cert, userpass, ldap, aws, gcp and azure. Give the role one of these, or let the agent log in, and name its token's
#   file in auth.token.file

[output]
mode = "0644"

[[file]]
path = "/run/app/x"
inline = "x"
make_dir = true
---- left 3:3 method "kerberos"
---- told 9:3 perms
---- told 9:3 destination = "/run/app/x"
