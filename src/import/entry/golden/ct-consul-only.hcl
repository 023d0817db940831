consul = "localhost:8500"
token = "a-token"
template { source = "service.ctmpl" destination = "/etc/haproxy/haproxy.cfg" command = "systemctl reload haproxy" }
template { contents = "{{ key \"a/b\" }}" destination = "/etc/b" }
================================================================
# Made by `squire import` from ct-consul-only.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.
# LEFT OUT: ct-consul-only.hcl:1: consul-template: its templates ask only Consul, which Squire does not; leave
#   consul-template running for them
---- left 1:1 consul-template
