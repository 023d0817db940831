secret { path = "/a/b/" no_prefix = true format = "{{ key | replaceKey `a` `b` }}" }
prefix { path = "app" }
pristine = true
once = true
================================================================
# Made by `squire import` from envconsul-odd.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.
# LEFT OUT: envconsul-odd.hcl:2: prefix: it asks Consul, which Squire does not; leave envconsul running for it, or put
#   the values into a secret
# envconsul-odd.hcl:4: once: envconsul does not watch with it; Squire does, and restarts the process unless on_change is
#   "none"

[source.vault]

[secret.b]
path = "a/b"

[process]
# LEFT OUT: envconsul-odd.hcl:1: secret.format: only `{{ key }}` with text around it is taken over, and `toUpper` and
#   `replaceKey` in it; name each variable in [process.env]
# envconsul-odd.hcl:1: secret "a/b": a shell knows no variable with a hyphen or a dot, so such characters become `_`
#   here
# The command follows `--`: squire run -c squire.toml -- PROGRAM
on_change = "none"
env_clear = true
env_from = [{ secret = "b", sanitize = true }]
---- left 1:1 secret.format
---- told 1:1 secret "a/b"
---- left 2:1 prefix
---- told 4:1 once
