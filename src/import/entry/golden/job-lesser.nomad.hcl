job "web" {
  group "web" {
    vault {}
    task "app" {
      config {
        command = "/usr/bin/app"
        args    = concat(["--port"], var.args)
      }
      template {
        data        = "{{ range service \"db\" }}{{ .Address }}{{ end }}\n{{ key \"app/mode\" }}\n{{ with nomadVar \"app\" }}{{ .user }}{{ end }}"
        destination = "secrets/consul"
        uid         = var.uid
        splay       = "30s"
        vault_grace = "15s"
        once        = true
      }
      template {
        data        = "x"
        destination = "secrets/script"
        change_mode = "script"
        change_script {
          command       = "/bin/reload"
          args          = [var.x]
          timeout       = "soon"
          fail_on_error = true
          retries       = 2
        }
      }
      template {
        data        = "y"
        destination = "secrets/none"
        change_mode = "script"
        splay       = "0s"
      }
      template {
        data        = "z"
        destination = "secrets/node"
        change_script { command = "/bin/reload" args = ["${node.region}"] }
      }
      template {
        data        = "z"
        destination = "secrets/node2"
        change_mode = "script"
        change_script { command = "/bin/reload" args = ["${node.region}", "${NOMAD_TASK_DIR}"] timeout = "0s" }
      }
    }
  }
}
================================================================
# Made by `squire import` from job-lesser.nomad.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.
# LEFT OUT: job-lesser.nomad.hcl:7: args: is no list of texts, so nothing can be made of it
# job-lesser.nomad.hcl:9: perms: a file without a mode is 0644 there, and everybody on the machine may read it; kept
#   here in [output]. Squire's own default is 0400

[source.vault]

[source.vault.auth.token]
file = "${NOMAD_SECRETS_DIR}/vault_token"

[output]
dir = "${NOMAD_SECRETS_DIR}"
mode = "0644"

[[file]]
# LEFT OUT: job-lesser.nomad.hcl:12: uid: is neither a name nor a number; write one of them
# LEFT OUT: job-lesser.nomad.hcl:10: service "db": Squire asks no Consul for services; let the program find them by DNS,
#   or keep consul-template for this file
# LEFT OUT: job-lesser.nomad.hcl:11: key "app/mode": Squire asks no Consul for keys; put the value into a KV of Vault or
#   OpenBao, or write it here
# LEFT OUT: job-lesser.nomad.hcl:12: nomadVar "app": Squire asks no Nomad; a variable of Nomad can be passed in the
#   environment, {{env "NAME"}}
# LEFT OUT: job-lesser.nomad.hcl:13: splay: Squire makes no random pause before it moves the process; give the machines
#   different `rollout.window`s
# job-lesser.nomad.hcl:14: vault_grace: Nomad passes over it since 0.11; Squire asks anew in time by itself
# job-lesser.nomad.hcl:15: once: Nomad renders it once; Squire keeps the file up to date, and a change of it moves
#   nothing
path = "consul"
inline = '''
{{!-- squire import: line 10: Squire asks no Consul for services; let the program find them by DNS, or keep consul-template for this file
{{ range service "db" }}{{ .Address }}{{ end }}
 --}}{{!}}
{{!-- squire import: line 11: key "app/mode": Squire asks no Consul for keys; put the value into a KV of Vault or OpenBao, or write it here --}}{{!}}
{{!-- squire import: line 12: Squire asks no Nomad; a variable of Nomad can be passed in the environment, {{env "NAME"}}
{{ with nomadVar "app" }}{{ .user }}{{ end }}
 --}}{{!}}'''
on_change = "none"

[[file]]
# LEFT OUT: job-lesser.nomad.hcl:23: args: is no list of texts, so nothing can be made of it
# LEFT OUT: job-lesser.nomad.hcl:24: timeout: is no duration; write one such as "30s"
# LEFT OUT: job-lesser.nomad.hcl:25: fail_on_error: Nomad ends the task if the script fails; with `required = true` in
#   on_change Squire takes the release back
# LEFT OUT: job-lesser.nomad.hcl:26: retries: is no key of change_script that the import knows; it is left out
path = "script"
inline = "x"
on_change = { run = ["/bin/reload"], timeout = "5s" }

[[file]]
# LEFT OUT: job-lesser.nomad.hcl:32: change_mode = "script": it has no change_script with a command, which Nomad
#   refuses; Squire restarts the process
path = "none"
inline = "y"

[[file]]
# job-lesser.nomad.hcl:38: change_script: counts only with change_mode = "script"; left out
path = "node"
inline = "z"

[[file]]
# LEFT OUT: job-lesser.nomad.hcl:44: change_script: a word is not Nomad's environment (NOMAD_…), which is all that
#   Squire can put in; write it into the command itself
path = "node2"
inline = "z"
on_change = { run = ["/bin/reload", "$${node.region}", "${NOMAD_TASK_DIR}"] }

[process]
command = ["/usr/bin/app"]
---- left 7:19 args
---- left 12:23 uid
---- left 10:10 service "db"
---- left 11:4 key "app/mode"
---- left 12:9 nomadVar "app"
---- left 13:23 splay
---- told 14:23 vault_grace
---- told 15:9 once
---- left 23:27 args
---- left 24:27 timeout
---- left 25:11 fail_on_error
---- left 26:11 retries
---- left 32:9 change_mode = "script"
---- told 38:9 change_script
---- left 44:9 change_script
---- told 9:7 perms
