job "web" {
  group "web" {
    vault {}
    task "app" {
      config {
        image = "web:1"
        args  = ["--port", "80"]
      }
      template {
        data        = "x"
        destination = "secrets/x"
        perms       = 0640
        uid         = -1
        wait        = "2s:4s"
      }
    }
  }
}
================================================================
# Made by `squire import` from job-image.nomad.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.
# LEFT OUT: job-image.nomad.hcl:7: args: the command before them is in the image; write both into process.command

[source.vault]

[source.vault.auth.token]
file = "${NOMAD_SECRETS_DIR}/vault_token"

[output]
dir = "${NOMAD_SECRETS_DIR}"

[[file]]
# job-image.nomad.hcl:14: wait: Squire waits for all files together, so that they change at once: `rollout.settle`
path = "x"
inline = "x"
mode = "0640"

[rollout]
settle = "2s"
---- left 7:9 args
---- told 14:9 wait
