variable "count" { default = 1 }
job "web" {
  datacenters = ["dc1"]
  group "web" {
    count = var.count
    network { port "http" {} }
    vault { role = "web" }
    task "side" {
      driver = "docker"
    }
    task "app" {
      driver = "exec"
      config {
        command = "/usr/bin/app"
        args    = ["--port", "${NOMAD_PORT_http}"]
      }
      template {
        data        = <<-EOF
          DB_PASSWORD="{{ with secret "secret/data/db" }}{{ .Data.data.password }}{{ end }}"
          MODE=production
        EOF
        destination = "secrets/app.env"
        env         = true
      }
      template {
        data          = <<EOF
{{ with secret "pki/issue/web" "common_name=web" }}{{ .Data.certificate }}{{ end }}
EOF
        destination   = "${NOMAD_SECRETS_DIR}/cert.pem"
        change_mode   = "signal"
        change_signal = "SIGHUP"
        perms         = "600"
        uid           = 1000
        splay         = "10s"
        wait { min = "5s" max = "10s" }
      }
      template {
        data        = file("app.conf")
        destination = "local/app.conf"
        change_mode = "noop"
      }
      template {
        source      = "app.ctmpl"
        destination = "local/other.conf"
        change_mode = "script"
        change_script { command = "/bin/reload" args = ["x"] }
      }
    }
    task "second" {
      template { data = "x" destination = "secrets/x" }
    }
  }
}
================================================================
# Made by `squire import` from job.nomad.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.
# LEFT OUT: job.nomad.hcl:49: task: a second task with templates; import its part of the job by itself, since it has a
#   configuration of its own
# job.nomad.hcl:37: perms: a file without a mode is 0644 there, and everybody on the machine may read it; kept here in
#   [output]. Squire's own default is 0400
# job.nomad.hcl:37: destination = "${NOMAD_TASK_DIR}/app.conf": this directory is usually on a disk, where a secret can
#   outlive its deletion; allowed here by output.allow_disk. Better is a path below /run or on another tmpfs

[source.vault]

[source.vault.auth.token]
file = "${NOMAD_SECRETS_DIR}/vault_token"

[secret.db]
path = "secret/data/db"

[secret.web]
path = "pki/issue/web"
params = { common_name = "web" }

[secret.app]
path = "secret/data/app"

[output]
dir = "${NOMAD_SECRETS_DIR}"
mode = "0644"
allow_disk = true

[[file]]
# job.nomad.hcl:35: wait.max: Squire waits once from the first change, for `rollout.settle`, and not anew with each
#   further one; so there is no longest time
# job.nomad.hcl:35: wait: Squire waits for all files together, so that they change at once: `rollout.settle`
# LEFT OUT: job.nomad.hcl:34: splay: Squire makes no random pause before it moves the process; give the machines
#   different `rollout.window`s
path = "cert.pem"
inline = '''
{{web.certificate}}
'''
mode = "0600"
owner = 1000
on_change = "SIGHUP"

# [[file]] ${NOMAD_TASK_DIR}/app.conf: here is why it is left out:
# LEFT OUT: job.nomad.hcl:38: data: its text is an expression of Nomad's language; import what `nomad job run -output`
#   makes of the job

[[file]]
path = "${NOMAD_TASK_DIR}/other.conf"
inline = '''
{{app.value}}
'''
make_dir = true
on_change = { run = ["/bin/reload", "x"], timeout = "5s" }

[process]
command = ["/usr/bin/app", "--port", "${NOMAD_PORT_http}"]

[process.env]
# job.nomad.hcl:19: error_on_missing_key: where a field is missing, the agent writes `<no value>`, and Squire publishes
#   nothing and says which field; for one that may be missing write {{default db.field ""}}
DB_PASSWORD = "{{db.password}}"
MODE = "production"

[rollout]
settle = "5s"
---- told 19:1 error_on_missing_key
---- told 35:27 wait.max
---- told 35:9 wait
---- left 34:25 splay
---- left 38:23 data
---- left 49:5 task
---- told 37:7 perms
---- told 37:7 destination = "${NOMAD_TASK_DIR}/app.conf"
