# Squire as the launcher of a task: it logs in with the token that Nomad keeps for the task, renders into the task's secrets directory, which is
# in memory, and starts the program. `squire import job.nomad.hcl` makes the configuration from the `template` blocks of a job.
#
# Checked as far as it goes without a Nomad: the tests run the configuration, with the variables and the token file of a task; the job is not run.
job "shop" {
  group "shop" {
    network {
      port "http" {} # squire.toml gives it to the program, as NOMAD_PORT_http
    }

    task "shop" {
      driver = "exec"

      # Nomad writes a token of this role to ${NOMAD_SECRETS_DIR}/vault_token, and keeps it alive.
      vault {
        role        = "shop"
        change_mode = "noop" # Squire reads a new token from the file
      }

      artifact {
        source      = "https://registry.example/squire-0.1.0-linux-amd64"
        destination = "local/squire"
        mode        = "file"
      }

      template {
        data        = file("squire.toml")
        destination = "local/squire.toml"
        change_mode = "noop"
        # Its braces are Squire's, not Nomad's.
        left_delimiter  = "[[["
        right_delimiter = "]]]"
      }

      config {
        command = "local/squire"
        args    = ["run", "-c", "local/squire.toml"]
      }

      # More than process.stop_timeout (30s) and what it takes to give back leases.
      kill_timeout = "45s"
    }
  }
}
