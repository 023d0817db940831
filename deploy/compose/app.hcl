# The least policy for the source vault of squire.toml. To write it as app:
#   squire policy -c squire.toml --source vault | bao policy write app -
# It is whole without the policy `default`, so the login may have token_no_default_policy=true.

# the secret db
path "database/creds/demo-readwrite" {
  capabilities = ["read"]
}

# the secret redis
path "secret/data/demo/redis" {
  capabilities = ["read"]
}

# to renew what is leased
path "sys/leases/renew" {
  capabilities = ["update"]
}

# to notice that a lease was revoked; without it a lease that was revoked is noticed only when it is renewed or replaced
path "sys/leases/lookup" {
  capabilities = ["update"]
}

# to end a lease once its successor is in use; without it a lease is ended by renewing it for a second, if it can be renewed
path "sys/leases/revoke" {
  capabilities = ["update"]
}

# to renew the token
path "auth/token/renew-self" {
  capabilities = ["update"]
}

# to notice that the token was revoked; without it a token that was revoked is noticed only by its next use
path "auth/token/lookup-self" {
  capabilities = ["read"]
}

# to give the token back at the end, with all of its leases
path "auth/token/revoke-self" {
  capabilities = ["update"]
}

# for squire check --online: what is missing; the agent does not ask it
path "sys/capabilities-self" {
  capabilities = ["update"]
}

# for squire check --online: what is allowed beside that; the agent does not ask it
path "sys/internal/ui/resultant-acl" {
  capabilities = ["read"]
}
