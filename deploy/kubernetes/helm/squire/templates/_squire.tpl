{{/*
What a pod template of another chart includes, each at its place; ../../example shows all of them.

The same as components/sidecar of the kustomize bases, where each line has its reason.
*/}}

{{/* A whole ConfigMap, with the squire.toml of the values. */}}
{{- define "squire.configMap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-squire
data:
  squire.toml: |
    {{- required "squire.config: the squire.toml, as text" .Values.squire.config | nindent 4 }}
{{- end }}

{{/* In metadata.annotations of the pod: where Prometheus finds Squire, and a new pod when the configuration changes. */}}
{{- define "squire.annotations" -}}
prometheus.io/scrape: "true"
prometheus.io/port: "9790"
prometheus.io/path: /metrics
squire/config-sum: {{ sha256sum .Values.squire.config }}
{{- end }}

{{/* In spec.securityContext of the pod. */}}
{{- define "squire.podSecurity" -}}
fsGroup: {{ .Values.squire.fsGroup }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}

{{/* In spec.initContainers, before all others. */}}
{{- define "squire.sidecar" -}}
- name: squire
  image: {{ .Values.squire.image | quote }}
  args: [run, -c, /etc/squire/squire.toml]
  restartPolicy: Always
  ports:
  - {name: squire, containerPort: 9790}
  startupProbe:
    exec: {command: [squire, status, --ready, -c, /etc/squire/squire.toml]}
    periodSeconds: 2
    timeoutSeconds: 5
    failureThreshold: 302400
  livenessProbe:
    exec: {command: [squire, status, --live, -c, /etc/squire/squire.toml]}
    periodSeconds: 20
    timeoutSeconds: 10
    failureThreshold: 6
  resources:
    {{- toYaml .Values.squire.resources | nindent 4 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities: {drop: [ALL]}
    seccompProfile: {type: RuntimeDefault}
  volumeMounts:
  - {name: squire-config, mountPath: /etc/squire, readOnly: true}
  - {name: squire-token, mountPath: /var/run/secrets/squire, readOnly: true}
  - {name: squire-run, mountPath: /run/squire}
  - {name: squire-secrets, mountPath: /secrets}
{{- end }}

{{/* In volumeMounts of each container that reads the files. */}}
{{- define "squire.mount" -}}
- {name: squire-secrets, mountPath: /secrets, readOnly: true}
{{- end }}

{{/* In spec.volumes. */}}
{{- define "squire.volumes" -}}
- name: squire-config
  configMap: {name: {{ .Release.Name }}-squire}
- name: squire-token
  projected:
    defaultMode: 288 # 0440
    sources:
    - serviceAccountToken: {audience: {{ .Values.squire.audience | quote }}, expirationSeconds: 600, path: token}
- name: squire-run
  emptyDir: {medium: Memory, sizeLimit: 4Mi}
- name: squire-secrets
  emptyDir: {medium: Memory, sizeLimit: {{ .Values.squire.size }}}
{{- end }}
