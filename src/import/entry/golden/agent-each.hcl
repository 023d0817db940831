template {
  destination = "/run/secrets/done"
  perms = "0400"
  error_on_missing_key = true
  contents = <<EOF
{{ with secret "secret/data/app" }}{{ range $k, $v := .Data.data }}{{ $v | writeToFile (printf "/run/secrets/app/%s" $k) "app" "" "0444" }}{{ end }}{{ end -}}
{{ range secrets "secret/metadata/users" }}{{ $user := . }}{{ with secret (printf "secret/data/users/%s" .) }}{{ range $k, $v := .Data.data }}{{ $v | writeToFile (printf "/run/secrets/users/%s/%s" $user $k) "" "" "0400" }}{{ end }}{{ end }}{{ end -}}
{{ with secret "secret/data/other" }}{{ range $k, $v := .Data.data }}
{{ $v | toUpper | writeToFile (printf "/run/secrets/other/%s" $k) "" "" "0444" }}
{{ $v | writeToFile (printf "/run/secrets/other/x-%s" $k) "" "" "0444" }}
{{ if $v }}{{ $v | writeToFile (printf "/run/secrets/other/%s" $k) "" "" "0444" }}{{ end }}
{{ end }}{{ range $k, $v := .Data.data }}{{ $v | writeToFile (printf "/etc/app/%s" $k) "" "" "0444" }}{{ end }}{{ end }}
EOF
}
================================================================
# Made by `squire import` from agent-each.hcl.
# Look at it with `squire check -c squire.toml`, start it with `squire run -c squire.toml`.
# LEFT OUT: agent-each.hcl:2: writeToFile "/etc/app": a directory with a file for each field is a part of the release,
#   below output.dir: /run/secrets/etc-app; let the program look there

[source.vault]

[secret.app]
path = "secret/data/app"

[secret.users]
path = "secret/users"
list = true

[secret.other]
path = "secret/data/other"

[output]
dir = "/run/secrets"

[[file]]
# agent-each.hcl:6: $v | writeToFile (printf "/run/secrets/app/%s" $k) "app" "" "0444": a file for each field: `each`
#   writes them, published with the others at once, and takes away those of fields that are gone
# LEFT OUT: agent-each.hcl:9: $v | toUpper | writeToFile (printf "/run/secrets/other/%s" $k) "" "" "0444": a file that
#   is written in a block has no equivalent, unless it is every field of a secret as it is, in a file of the field's
#   name; write a [[file]] for each, with its template
# LEFT OUT: agent-each.hcl:10: $v | writeToFile (printf "/run/secrets/other/x-%s" $k) "" "" "0444": a file that is
#   written in a block has no equivalent, unless it is every field of a secret as it is, in a file of the field's name;
#   write a [[file]] for each, with its template
# LEFT OUT: agent-each.hcl:11: $v | writeToFile (printf "/run/secrets/other/%s" $k) "" "" "0444": a file that is written
#   in a block has no equivalent, unless it is every field of a secret as it is, in a file of the field's name; write a
#   [[file]] for each, with its template
path = "done"
inline = '''
{{#each app as |v k|}}{{/each}}{{#each users as |entry key|}}{{#each entry as |v k|}}{{/each}}{{/each}}{{#each other as |v k|}}
{{!-- squire import: line 9: $v | toUpper | writeToFile (printf "/run/secrets/other/%s" $k) "" "" "0444": a file that is written in a block has no equivalent, unless it is every field of a secret as it is, in a file of the field's name; write a [[file]] for each, with its template --}}{{!}}
{{!-- squire import: line 10: $v | writeToFile (printf "/run/secrets/other/x-%s" $k) "" "" "0444": a file that is written in a block has no equivalent, unless it is every field of a secret as it is, in a file of the field's name; write a [[file]] for each, with its template --}}{{!}}
{{#if v includeZero=true}}{{!-- squire import: line 11: $v | writeToFile (printf "/run/secrets/other/%s" $k) "" "" "0444": a file that is written in a block has no equivalent, unless it is every field of a secret as it is, in a file of the field's name; write a [[file]] for each, with its template --}}{{/if}}
{{/each}}{{#each other as |v k|}}{{/each}}
'''
mode = "0400"

[[file]]
path = "app"
each = "app"
mode = "0444"
owner = "app"

[[file]]
path = "users"
each = "users"
mode = "0400"

[[file]]
path = "etc-app"
each = "other"
mode = "0444"
---- told 6:71 $v | writeToFile (printf "/run/secrets/app/%s" $k) "app" "" "0444"
---- left 9:4 $v | toUpper | writeToFile (printf "/run/secrets/other/%s" $k) "" "" "0444"
---- left 10:4 $v | writeToFile (printf "/run/secrets/other/x-%s" $k) "" "" "0444"
---- left 11:15 $v | writeToFile (printf "/run/secrets/other/%s" $k) "" "" "0444"
---- left 2:3 writeToFile "/etc/app"
