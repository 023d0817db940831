auto_auth {
  method {
    type = "aws"
    mount_path = "auth/aws-prod"
    config {
      type = "ec2"
      role = "web"
      region = "eu-central-1"
      header_value = "vault.example.com"
      access_key = "NOT-TO-BE-SHOWN"
      secret_key = "NOT-TO-BE-SHOWN"
      credential_poll_interval = 60
      unknown = 1
    }
  }
}
template { contents = "x" destination = "/run/x" perms = "0400" }
================================================================
# Made by `squire import` from agent-aws.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.
# agent-aws.hcl:17: destination = "/run/x": Squire does not replace a file that another program wrote: stop that program
#   and remove its files before the first start

[source.vault]
# LEFT OUT: agent-aws.hcl:6: type: Squire logs in with an identity of IAM: give the role auth_type=iam and
#   bound_iam_principal_arn; the login stands here as that
# LEFT OUT: agent-aws.hcl:10: access_key: a credential in the text is not taken over: Squire finds one where every tool
#   of AWS does, in AWS_ACCESS_KEY_ID and its kin, AWS's files, or the role of the machine
# LEFT OUT: agent-aws.hcl:11: secret_key: a credential in the text is not taken over: Squire finds one where every tool
#   of AWS does, in AWS_ACCESS_KEY_ID and its kin, AWS's files, or the role of the machine
# agent-aws.hcl:12: credential_poll_interval: Squire looks for credentials at each login, and watches the files of AWS;
#   left out
# agent-aws.hcl:13: unknown: the agent has no such key in the method aws and passes over it, so it does nothing; left
#   out

[source.vault.auth.aws]
mount = "aws-prod"
role = "web"
region = "eu-central-1"
server_id = "vault.example.com"

[[file]]
path = "/run/x"
inline = "x"
mode = "0400"
make_dir = true
---- left 6:7 type
---- left 10:7 access_key
---- left 11:7 secret_key
---- told 12:7 credential_poll_interval
---- told 13:7 unknown
---- told 17:27 destination = "/run/x"
