/* every way
   to write */
auto_auth {
  method "jwt" { config { role = "app" path = "/run/jwt" remove_jwt_after_reading = false } min_backoff = "1s" }
}
// two of a kind
template {
  contents = "one"
  contents = "two"
  destination = "/run/a/../b"
  perms = 600
  create_dest_dirs = false
  backup = true
  wait { min = "2s" max = "10s" }
}
template { contents = "x" destination = "/run/b" }
template { contents = "y" destination = "/run/c" wait = "4s:8s" uid = 100 gid = "1000" command = "chown app:web /run/c && chmod 0640 /run/c" new_key = 1 }
template { source = "missing.ctmpl" destination = "/run/d" }
template { source = "long.ctmpl" destination = "/run/e.conf" command = ["pkill", "-HUP", "nginx"] }
template { source = "long.ctmpl" destination = "/run/x/e.conf" command = "cat /run/e.conf > /run/f && echo 'a b'" }
template { contents = "no destination" }
================================================================
# Made by `squire import` from agent-spellings.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.
# LEFT OUT: agent-spellings.hcl:21: template: it has no destination, so it renders to nowhere; give it one
# LEFT OUT: agent-spellings.hcl:16: destination = "/run/b": two templates write this file, and which one wins is chance;
#   the first is taken
# agent-spellings.hcl:18: perms: a file without a mode is 0644 there, and everybody on the machine may read it; kept
#   here in [output]. Squire's own default is 0400
# agent-spellings.hcl:10: destination = "/run/b": Squire does not replace a file that another program wrote: stop that
#   program and remove its files before the first start

[source.vault]
# agent-spellings.hcl:4: min_backoff: Squire's pauses between two logins are its own; left out

[source.vault.auth.jwt]
role = "app"
jwt_file = "/run/jwt"

[output]
mode = "0644"

[[file]]
# agent-spellings.hcl:10: destination = "/run/a/../b": has `..`, which Squire does not take, since links can lead it
#   elsewhere; check the path
# agent-spellings.hcl:9: contents: the key is given twice; the last one counts
# agent-spellings.hcl:11: perms = 600: a mode without a 0 before it is a decimal number: the agent sets 1130; taken as
#   the 0600 that was meant
# agent-spellings.hcl:14: wait.max: Squire waits once from the first change, for `rollout.settle`, and not anew with
#   each further one; so there is no longest time
# agent-spellings.hcl:14: wait: Squire waits for all files together, so that they change at once: `rollout.settle`, the
#   longest of them
# agent-spellings.hcl:13: backup: Squire writes no .bak file, which would be an old secret on the disk; a release that
#   fails is taken back
path = "/run/b"
inline = "two"
mode = "0600"

[[file]]
# agent-spellings.hcl:17: wait: Squire waits for all files together, so that they change at once: `rollout.settle`, the
#   longest of them
# LEFT OUT: agent-spellings.hcl:17: new_key: the agent does not know this key in a template and refuses the whole file
#   for it; remove it
path = "/run/c"
inline = "y"
mode = "0640"
owner = "app"
group = "web"
make_dir = true

# [[file]] /run/d: here is why it is left out:
# LEFT OUT: agent-spellings.hcl:18: source = "missing.ctmpl": this file cannot be read; import where it is, or translate
#   it with `squire import FILE`

[[file]]
path = "/run/e.conf"
template = "e.conf.hbs"
make_dir = true
on_change = { signal = "SIGHUP", process = "nginx" }

[[file]]
# agent-spellings.hcl:20: command = "cat …": a command that needs a shell; it runs as Squire's own user, in an image
#   that has `sh`
path = "/run/x/e.conf"
template = "e.conf-2.hbs"
make_dir = true
on_change = { run = ["sh", "-c", "cat /run/e.conf > /run/f && echo 'a b'"] }

[rollout]
settle = "4s"
---- e.conf.hbs
line
line
line
line
line
line
line
line
line
line
line
line
line
line
line
line
line
line
line
line
---- e.conf-2.hbs
line
line
line
line
line
line
line
line
line
line
line
line
line
line
line
line
line
line
line
line
---- told 4:93 min_backoff
---- told 10:3 destination = "/run/a/../b"
---- told 9:3 contents
---- told 11:11 perms = 600
---- told 14:21 wait.max
---- told 14:3 wait
---- told 13:3 backup
---- told 17:50 wait
---- left 17:142 new_key
---- left 18:21 source = "missing.ctmpl"
---- told 20:74 command = "cat …"
---- left 21:1 template
---- left 16:27 destination = "/run/b"
---- told 18:37 perms
---- told 10:3 destination = "/run/b"
