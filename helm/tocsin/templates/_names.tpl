{{- define "tocsin.name" -}}
{{ .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "tocsin.fullname" -}}
{{- $name := include "tocsin.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{ .Values.fullnameOverride | default $full | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- /* Of one part of the release: (list root part). */}}
{{- define "tocsin.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "tocsin.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- /* metadata's labels and annotations: (list root part annotations labels), the last may be left out. */}}
{{- define "tocsin.metadata" -}}
{{- $root := index . 0 -}}
labels:
  {{- include "tocsin.selector" . | nindent 2 }}
  app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ $root.Release.Service }}
  helm.sh/chart: {{ $root.Chart.Name }}-{{ $root.Chart.Version | replace "+" "_" }}
  {{- with merge (dict) (ternary (last .) dict (eq (len .) 4)) $root.Values.labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (index . 2) $root.Values.annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "tocsin.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (ternary (include "tocsin.fullname" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- /* Of a part: (list root values). The tag of another image says nothing of its digest. */}}
{{- define "tocsin.image" -}}
{{- $root := index . 0 }}{{ $own := (index . 1).image | default dict }}
{{- $other := ternary (dict "digest" "") dict (or (hasKey $own "repository") (hasKey $own "tag")) }}
{{- with mergeOverwrite (deepCopy $root.Values.image) $other $own -}}
{{ with .registry }}{{ . }}/{{ end }}{{ .repository }}:{{ .tag | default $root.Chart.AppVersion }}{{ with .digest }}@{{ . }}{{ end }}
{{- end }}
{{- end }}
