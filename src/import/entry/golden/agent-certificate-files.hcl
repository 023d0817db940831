template {
  destination = "/run/haproxy/rendered"
  contents = <<EOF
{{- with pkiCert "pki/issue/lb" "common_name=lb.example.com" "ttl=24h" -}}
{{ .Key | writeToFile "/run/haproxy/lb.key" "haproxy" "haproxy" "0400" }}
{{ .CA | writeToFile "/run/haproxy/ca.pem" "" "" "0644" }}
{{ .Cert | writeToFile "/run/haproxy/lb.pem" "haproxy" "haproxy" "0400" }}
{{ .Key | writeToFile "/run/haproxy/lb.pem" "haproxy" "haproxy" "0400" "append" }}
{{ .CA | writeToFile "/run/haproxy/other.pem" "" "" "0644" "append,newline" }}
{{ .CA | writeToFile "/run/haproxy/last.pem" "" "" "0644" "newline" }}
{{- end -}}
EOF
  perms = "0400"
  exec { command = ["sh", "-c", "kill -USR2 $(cat /run/haproxy.pid)"] }
}
================================================================
# Made by `squire import` from agent-certificate-files.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.
# agent-certificate-files.hcl:2: destination = "/run/haproxy/rendered": Squire does not replace a file that another
#   program wrote: stop that program and remove its files before the first start

[source.vault]

[secret.lb]
path = "pki/issue/lb"
params = { common_name = "lb.example.com", ttl = "24h" }

[[file]]
# agent-certificate-files.hcl:5: .Key | writeToFile "/run/haproxy/lb.key" "haproxy" "haproxy" "0400": each `writeToFile`
#   is a [[file]] of its own, published with the others at once
# LEFT OUT: agent-certificate-files.hcl:9: .CA | writeToFile "/run/haproxy/other.pem" "" "" "0644" "append,newline":
#   Squire appends only to what this template wrote before; write a [[file]] with the whole text
# agent-certificate-files.hcl:2: command: the command follows a change of this file alone there, and so mostly of
#   nothing; here it follows those that the template writes too
path = "/run/haproxy/rendered"
inline = '''




{{!-- squire import: line 9: .CA | writeToFile "/run/haproxy/other.pem" "" "" "0644" "append,newline": Squire appends only to what this template wrote before; write a [[file]] with the whole text --}}{{!}}
'''
mode = "0400"
make_dir = true
on_change = { signal = "SIGUSR2", pid_file = "/run/haproxy.pid" }

[[file]]
path = "/run/haproxy/lb.key"
inline = '''
{{lb.private_key}}
'''
mode = "0400"
owner = "haproxy"
group = "haproxy"
make_dir = true
on_change = { signal = "SIGUSR2", pid_file = "/run/haproxy.pid" }

[[file]]
path = "/run/haproxy/ca.pem"
inline = '''
{{lb.issuing_ca}}
'''
mode = "0644"
make_dir = true
on_change = { signal = "SIGUSR2", pid_file = "/run/haproxy.pid" }

[[file]]
path = "/run/haproxy/lb.pem"
inline = '''
{{lb.certificate}}
{{lb.private_key}}
'''
mode = "0400"
owner = "haproxy"
group = "haproxy"
make_dir = true
on_change = { signal = "SIGUSR2", pid_file = "/run/haproxy.pid" }

[[file]]
path = "/run/haproxy/last.pem"
inline = '''
{{lb.issuing_ca}}

'''
mode = "0644"
make_dir = true
on_change = { signal = "SIGUSR2", pid_file = "/run/haproxy.pid" }
---- told 5:4 .Key | writeToFile "/run/haproxy/lb.key" "haproxy" "haproxy" "0400"
---- left 9:4 .CA | writeToFile "/run/haproxy/other.pem" "" "" "0644" "append,newline"
---- told 2:3 command
---- told 2:3 destination = "/run/haproxy/rendered"
