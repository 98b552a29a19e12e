{{/* The name of everything namespaced: the release, unless it already says what it is. At most 52 characters, so that a suffix fits. */}}
{{- define "memory-operator.fullname" -}}
{{- $full := contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) }}
{{- default $full .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* The name of everything cluster-wide: two releases of one name may live in two namespaces. */}}
{{- define "memory-operator.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "memory-operator.fullname" .) | trunc 120 | trimSuffix "-" }}
{{- end }}

{{- define "memory-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "memory-operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name: name an existing account, or set serviceAccount.create=true" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* A selector cannot be changed after the first install: nothing that depends on a version or a value belongs here. */}}
{{- define "memory-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "memory-operator.labels" -}}
{{ include "memory-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: agent-memory
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "memory-operator.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}
