pid_file = "./pidfile"

vault {
  address         = "https://vault.example.com:8200"
  ca_cert         = "/etc/ssl/vault-ca.pem"
  namespace       = "team"
  tls_skip_verify = false
  retry {
    num_retries = 5
  }
}

auto_auth {
  method "approle" {
    mount_path = "auth/approle"
    config = {
      role_id_file_path                   = "/etc/agent/role-id"
      secret_id_file_path                 = "/etc/agent/secret-id"
      remove_secret_id_file_after_reading = false
    }
  }

  sink "file" {
    config = {
      path = "/run/agent/token"
      mode = 0640
    }
  }
}

# where the secrets go
template {
  source      = "/etc/agent/app.ctmpl"
  destination = "/run/app/app.env"
  perms       = 0600
  command     = "systemctl reload app"
}

template {
  destination = "/etc/nginx/ssl/key.pem"
  perms       = "0640"
  contents    = <<-EOF
    {{- with secret "pki/issue/web" "common_name=web.internal" }}
    {{ .Data.private_key }}
    {{- end }}
    EOF
  exec {
    command = ["sh", "-c", "kill -HUP $(cat /run/nginx.pid)"]
    timeout = "10s"
  }
}
================================================================
# Made by `squire import` from agent-approle.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.
# agent-approle.hcl:1: pid_file: Squire writes no such file: orders go to its socket (`squire status`, `squire reload`),
#   and the service manager knows its number
# agent-approle.hcl:40: destination = "/etc/nginx/ssl/key.pem": this directory is usually on a disk, where a secret can
#   outlive its deletion; allowed here by output.allow_disk. Better is a path below /run or on another tmpfs
# agent-approle.hcl:34: destination = "/run/app/app.env": Squire does not replace a file that another program wrote:
#   stop that program and remove its files before the first start

[source.vault]
# agent-approle.hcl:8: retry: Squire tries again for as long as it runs, further and further apart; before the first
#   release for `startup_timeout`
address = "https://vault.example.com:8200"
namespace = "team"
ca_file = "/etc/ssl/vault-ca.pem"

[source.vault.auth.approle]
role_id_file = "/etc/agent/role-id"
secret_id_file = "/etc/agent/secret-id"

[[source.vault.token_file]]
# agent-approle.hcl:23: sink "/run/agent/token": whoever reads this file can do what the token can: take its table out
#   if nobody does, as is usual beside templates
path = "/run/agent/token"
mode = "0640"
make_dir = true

[secret.app]
path = "secret/data/app"

[secret.web]
path = "pki/issue/web"
params = { common_name = "web.internal" }

[output]
allow_disk = true

[[file]]
# /etc/agent/app.ctmpl:1: error_on_missing_key: where a field is missing, the agent writes `<no value>`, and Squire
#   publishes nothing and says which field; for one that may be missing write {{default db.field ""}}
path = "/run/app/app.env"
inline = '''
{{app.value}}
'''
mode = "0600"
make_dir = true
on_change = { run = ["systemctl", "reload", "app"] }

[[file]]
path = "/etc/nginx/ssl/key.pem"
inline = '''

{{web.private_key}}
'''
mode = "0640"
make_dir = true
on_change = { signal = "SIGHUP", pid_file = "/run/nginx.pid" }
---- told 8:3 retry
---- told 23:3 sink "/run/agent/token"
---- told 1:1 error_on_missing_key
---- told 1:1 pid_file
---- told 40:3 destination = "/etc/nginx/ssl/key.pem"
---- told 34:3 destination = "/run/app/app.env"
