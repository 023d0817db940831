envconsul -prefix=app -upcase app
================================================================
# Made by `squire import` from envconsul-line-consul.sh.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.
# LEFT OUT: envconsul-line-consul.sh:1: envconsul: it asks only Consul, which Squire does not; leave envconsul running
#   for it
---- left 1:1 envconsul
