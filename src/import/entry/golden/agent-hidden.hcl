auto_auth { method "userpass" { config { username = "a" password = "NOT-TO-BE-SHOWN" } } }
template {
  contents = "x"
  destination = "/run/x"
  command = "TOKEN=hidden-in-notes curl http://localhost/reload | cat"
}
================================================================
# Made by `squire import` from agent-hidden.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.
# agent-hidden.hcl:4: perms: a file without a mode is 0644 there, and everybody on the machine may read it; kept here in
#   [output]. Squire's own default is 0400
# agent-hidden.hcl:4: destination = "/run/x": Squire does not replace a file that another program wrote: stop that
#   program and remove its files before the first start

[source.vault]
# LEFT OUT: agent-hidden.hcl:1: password_file_path: it is missing, and the agent needs it too; add it
# LEFT OUT: agent-hidden.hcl:1: password: the agent reads a password only from a file and passes over this key; put it
#   into a file and name that in password_file

[output]
mode = "0644"

[[file]]
# agent-hidden.hcl:5: command = "…": a command that needs a shell; it runs as Squire's own user, in an image that has
#   `sh`
path = "/run/x"
inline = "x"
make_dir = true
on_change = { run = ["sh", "-c", "TOKEN=hidden-in-notes curl http://localhost/reload | cat"] }
---- left 1:86 password_file_path
---- left 1:57 password
---- told 5:13 command = "…"
---- told 4:3 perms
---- told 4:3 destination = "/run/x"
