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
{{- $name := include "bellwether.fullname" . -}}
{{- if has .Release.Namespace (list $name (printf "%s-system" $name)) -}}
{{- $name -}}
{{- else -}}
{{- printf "%s-%s" .Release.Namespace $name -}}
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
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels with more of them; a key that both have is the chart's. Called with (list $ more). */}}
{{- define "bellwether.labelsWith" -}}
{{- $own := include "bellwether.labels" (index . 0) | fromYaml -}}
{{- merge dict $own (index . 1) | toYaml -}}
{{- end -}}

{{/* Objects of a file as documents with the chart's labels. Called with (list $ text). */}}
{{- define "bellwether.documents" -}}
{{- $root := index . 0 -}}
{{- range regexSplit "(?m)^---$" (index . 1) -1 }}
{{- $object := . | fromYaml }}
{{- $_ := set $object.metadata "labels" (include "bellwether.labels" $root | fromYaml) }}
---
{{ toYaml $object }}
{{- end }}
{{- end -}}

{{- define "bellwether.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "bellwether.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name: must be set if serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "bellwether.image" -}}
{{- if and .Values.image.digest .Values.image.tag -}}
{{- printf "%s:%s@%s" .Values.image.repository .Values.image.tag .Values.image.digest -}}
{{- else if .Values.image.digest -}}
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
The files that flags name: name of the file, the list in the values, and the Secret that may hold it instead. All are in one
directory, and all but that of events are read again when they change. As JSON, which is YAML too.
*/}}
{{- define "bellwether.files" -}}
{{- $access := .Values.controller.metricsAccess -}}
{{- $files := list
  (dict "file" "metrics-token" "flag" "--metrics-bearer-token-file" "secret" $access.bearerToken)
  (dict "file" "metrics-basic-auth" "flag" "--metrics-basic-auth-file" "secret" $access.basicAuth)
  (dict "file" "metrics-ca.crt" "flag" "--metrics-ca-file" "secret" $access.ca)
  (dict "file" "jenkins.yaml" "flag" "--jenkins-file" "field" "jenkins.instances" "list" .Values.jenkins.instances "secret" .Values.jenkins.existingSecret)
  (dict "file" "events.yaml" "flag" "--events-file" "field" "events.sinks" "list" .Values.events.sinks "secret" .Values.events.existingSecret)
  (dict "file" "user-aliases.yaml" "flag" "--user-aliases-file" "field" "userAliases.users" "list" .Values.userAliases.users "secret" .Values.userAliases.existingSecret)
-}}
{{- if .Values.hook.enabled -}}
{{- $files = concat $files (list
  (dict "file" "oidc.yaml" "flag" "--hook-oidc-file" "field" "hook.oidc.issuers" "list" .Values.hook.oidc.issuers "secret" .Values.hook.oidc.existingSecret)
  (dict "file" "tokens.yaml" "flag" "--hook-tokens-file" "field" "hook.tokens.clients" "list" .Values.hook.tokens.clients "secret" .Values.hook.tokens.existingSecret)
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
