{{- define "tocsin.replicas" -}}
{{ ternary 2 .Values.workers.replicas (kindIs "invalid" .Values.workers.replicas) }}
{{- end }}

{{- /* (list root part values). What is broken anyway keeps no node from being drained. */}}
{{- define "tocsin.pdb" -}}
{{- $root := index . 0 -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "tocsin.fullname" $root }}-{{ index . 1 }}
  {{- include "tocsin.metadata" (list $root (index . 1) dict) | nindent 2 }}
spec:
  maxUnavailable: {{ (index . 2).maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "tocsin.selector" (list $root (index . 1)) | nindent 6 }}
{{- end }}

{{- /* A Job's spec: (dict root part values args account backoffLimit deadline). */}}
{{- define "tocsin.job" -}}
{{- $job := .values -}}
backoffLimit: {{ dig "backoffLimit" 2 $job }}
{{- with $job.timeoutSeconds }}
activeDeadlineSeconds: {{ . }}
{{- end }}
{{- with $job.completions }}
completionMode: Indexed
completions: {{ . }}
parallelism: {{ $job.parallelism | default . }}
{{- end }}
template:
  {{- include "tocsin.pod" (merge (dict "restartPolicy" "Never") .) | nindent 2 }}
{{- end }}
