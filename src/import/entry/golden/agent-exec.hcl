auto_auth { method { type = "token_file" config { token_file_path = "/run/token" } } }
env_template "DB_PASSWORD" {
  contents             = "{{ with secret \"secret/data/db\" }}{{ .Data.data.password }}{{ end }}"
  error_on_missing_key = true
}
env_template "APP_CONFIG" {
  source = "app.ctmpl"
}
exec {
  command                   = ["/usr/bin/app", "--port", "80"]
  restart_on_secret_changes = "always"
  restart_stop_signal       = "SIGINT"
}
================================================================
# Made by `squire import` from agent-exec.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.

[source.vault]

[source.vault.auth.token]
file = "/run/token"

[secret.db]
path = "secret/data/db"

[secret.app]
path = "secret/data/app"

[process]
command = ["/usr/bin/app", "--port", "80"]
stop_signal = "SIGINT"

[process.env]
DB_PASSWORD = "{{db.password}}"
# app.ctmpl:1: error_on_missing_key: where a field is missing, the agent writes `<no value>`, and Squire publishes
#   nothing and says which field; for one that may be missing write {{default db.field ""}}
APP_CONFIG = '''
{{app.value}}
'''
---- told 1:1 error_on_missing_key
