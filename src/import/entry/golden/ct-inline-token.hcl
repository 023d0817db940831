vault { address = "http://v:8200" token = "hvs.NOT-TO-BE-SHOWN" unwrap_token = true k8s_auth_role_name = "app" }
default_left_delimiter = "[["
default_right_delimiter = "]]"
template { contents = "x" destination = "/tmp/x" command = "sleep 1; systemctl reload x" exec { command = ["systemctl", "reload", "y"] } }
exec { command = "exec dotnet run" }
once = true
================================================================
# Made by `squire import` from ct-inline-token.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire render -c squire.toml`.
# ct-inline-token.hcl:6: once: start `squire render` in place of `squire run`: it writes the files once and ends
# ct-inline-token.hcl:4: perms: a file without a mode is 0644 there, and everybody on the machine may read it; kept here
#   in [output]. Squire's own default is 0400
# ct-inline-token.hcl:4: destination = "/tmp/x": this directory is usually on a disk, where a secret can outlive its
#   deletion; allowed here by output.allow_disk. Better is a path below /run or on another tmpfs
# ct-inline-token.hcl:4: destination = "/tmp/x": Squire does not replace a file that another program wrote: stop that
#   program and remove its files before the first start
# LEFT OUT: ct-inline-token.hcl:4: command: beside its command, a changed file restarts or signals the process there;
#   here only the command runs. Leave out `on_change` of the file to have the process's own

[source.vault]
# LEFT OUT: ct-inline-token.hcl:1: token: a token is in the file itself; put it into a file that only Squire reads and
#   name that in auth.token.file, or set VAULT_TOKEN
# LEFT OUT: ct-inline-token.hcl:1: unwrap_token: Squire takes no wrapped token, only a wrapped secret-id: use an AppRole
#   with unwrap = true
address = "http://v:8200"

[source.vault.auth.kubernetes]
role = "app"

[output]
mode = "0644"
allow_disk = true

[[file]]
# ct-inline-token.hcl:4: command = "sleep …": a command that needs a shell; it runs as Squire's own user, in an image
#   that has `sh`
path = "/tmp/x"
inline = "x"
make_dir = true
on_change = { run = ["systemctl", "reload", "y"] }

[process]
# ct-inline-token.hcl:5: kill_signal: without it the process is stopped by SIGINT, which is kept; Squire's own default
#   is SIGTERM
command = ["dotnet", "run"]
stop_signal = "SIGINT"
---- left 1:35 token
---- left 1:65 unwrap_token
---- told 4:60 command = "sleep …"
---- told 5:8 kill_signal
---- told 6:1 once
---- told 4:27 perms
---- told 4:27 destination = "/tmp/x"
---- told 4:27 destination = "/tmp/x"
---- left 4:27 command
