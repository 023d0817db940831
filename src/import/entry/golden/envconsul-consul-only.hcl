prefix { path = "app/config" }
upcase = true
exec { command = "app" }
================================================================
# Made by `squire import` from envconsul-consul-only.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.
# LEFT OUT: envconsul-consul-only.hcl:1: envconsul: it asks only Consul, which Squire does not; leave envconsul running
#   for it
---- left 1:1 envconsul
