{{- define "bellwether.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "bellwether.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "bellwether.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "bellwether.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Names of objects without a namespace: two releases in one cluster must not share them. */}}
{{- define "bellwether.clusterName" -}}
{{- if or (eq .Release.Namespace (include "bellwether.fullname" .)) (hasPrefix (include "bellwether.fullname" .) .Release.Namespace) -}}
{{- include "bellwether.fullname" . -}}
{{- else -}}
{{- printf "%s-%s" .Release.Namespace (include "bellwether.fullname" .) -}}
{{- end -}}
{{- end -}}

{{- define "bellwether.selectorLabels" -}}
app.kubernetes.io/name: {{ include "bellwether.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "bellwether.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "bellwether.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "bellwether.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "bellwether.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name: must be set if serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "bellwether.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "bellwether.tlsSecret" -}}
{{- if .Values.hook.tls.certManager.enabled -}}
{{- include "bellwether.fullname" . }}-hook-tls
{{- else -}}
{{- .Values.hook.tls.existingSecret -}}
{{- end -}}
{{- end -}}

{{/*
The files that the controller reads again when they change: name of the flag's file, the list in the values, and the Secret
that may hold it instead. As JSON, which is YAML too.
*/}}
{{- define "bellwether.files" -}}
{{- $none := dict "name" "" -}}
{{- $files := list
  (dict "file" "jenkins.yaml" "flag" "--jenkins-file" "field" "jenkins.instances" "list" .Values.jenkins.instances "secret" .Values.jenkins.existingSecret)
  (dict "file" "events.yaml" "flag" "--events-file" "field" "events.sinks" "list" .Values.events.sinks "secret" .Values.events.existingSecret)
  (dict "file" "user-aliases.yaml" "flag" "--user-aliases-file" "field" "userAliases" "list" .Values.userAliases "secret" $none)
-}}
{{- if .Values.hook.enabled -}}
{{- $files = concat $files (list
  (dict "file" "oidc.yaml" "flag" "--hook-oidc-file" "field" "hook.oidc.issuers" "list" .Values.hook.oidc.issuers "secret" .Values.hook.oidc.existingSecret)
  (dict "file" "tokens.yaml" "flag" "--hook-tokens-file" "field" "hook.tokens" "list" list "secret" .Values.hook.tokens.existingSecret)
) -}}
{{- end -}}
{{- $used := list -}}
{{- range $files -}}
{{- if and .list .secret.name -}}
{{- fail (printf "%s and its existingSecret: set one of them" .field) -}}
{{- end -}}
{{- if or .list .secret.name -}}
{{- $used = append $used . -}}
{{- end -}}
{{- end -}}
{{- dict "files" $used | toJson -}}
{{- end -}}
