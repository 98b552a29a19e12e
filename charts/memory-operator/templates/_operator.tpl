{{/* The operator's settings: memory_operator/settings.py says what each does, and a test compares the two. */}}
{{- define "memory-operator.env" -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: AGENT_MEMORY_NAMESPACES
  value: {{ join "," .Values.watchNamespaces | quote }}
- name: AGENT_MEMORY_STORE_URL
  value: {{ required "store.url: say where your Redis or Valkey is, such as --set store.url=redis://valkey.data.svc:6379/0" .Values.store.url | quote }}
- name: AGENT_MEMORY_STORE_USERNAME
  value: {{ .Values.store.username | quote }}
- name: AGENT_MEMORY_STORE_PASSWORD_FILE
  value: {{ empty .Values.store.passwordSecretRef.name | ternary "" "/etc/agentmemory/store/password" | quote }}
- name: AGENT_MEMORY_STORE_CA_FILE
  value: {{ empty .Values.store.caSecretRef.name | ternary "" "/etc/agentmemory/store-ca/ca.crt" | quote }}
- name: AGENT_MEMORY_STORE_PROBE
  value: {{ .Values.store.probeInterval | quote }}
- name: AGENT_MEMORY_RESYNC
  value: {{ .Values.resyncInterval | quote }}
- name: AGENT_MEMORY_WORKERS
  value: {{ .Values.workers | quote }}
- name: AGENT_MEMORY_LEASE_NAME
  value: {{ include "memory-operator.fullname" . }}
- name: AGENT_MEMORY_LEASE_DURATION
  value: {{ .Values.leaderElection.leaseDuration | quote }}
- name: AGENT_MEMORY_METRICS_ADDRESS
  value: {{ printf "0.0.0.0:%v" .Values.metrics.port | quote }}
- name: AGENT_MEMORY_LOG_LEVEL
  value: {{ .Values.logLevel }}
{{- end }}

{{/* Rules where memories live: the entries of PERMISSIONS in memory_operator/rbac.py without own_namespace. */}}
{{- define "memory-operator.rules" -}}
- apiGroups: [agentmemory.io]
  resources: [memoryresources]
  verbs: [list, watch, patch]
- apiGroups: [agentmemory.io]
  resources: [memoryresources/status]
  verbs: [patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}

{{- define "memory-operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "memory-operator.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}
