{{- /* Settings of a part: (list root values). */}}
{{- define "tocsin.config" -}}
{{- mergeOverwrite (deepCopy (index . 0).Values.config) ((index . 1).config | default dict) | toYaml }}
{{- end }}

{{- define "tocsin.kafka" -}}
{{- mergeOverwrite (deepCopy (index . 0).Values.kafka) ((index . 1).kafka | default dict) | toYaml }}
{{- end }}

{{- /* Seconds between SIGTERM and SIGKILL: (list root values). */}}
{{- define "tocsin.grace" -}}
{{- $config := include "tocsin.config" . | fromYaml -}}
{{- $pod := mergeOverwrite (deepCopy (index . 0).Values.pod) ((index . 1).pod | default dict) -}}
{{ $pod.terminationGracePeriodSeconds | default (add 10 (ceil $config.drain_timeout_s)) }}
{{- end }}

{{- /*
A pod's metadata and spec.
  root, part: for names and labels; values: the part's; args: the command
  env, volumes, mounts: YAML lists, more of them; probes: whether it serves /livez and /readyz; restartPolicy; account
*/}}
{{- define "tocsin.pod" -}}
{{- $root := .root -}}
{{- $pod := mergeOverwrite (deepCopy $root.Values.pod) (.values.pod | default dict) -}}
{{- $config := include "tocsin.config" (list $root .values) | fromYaml -}}
{{- $kafka := include "tocsin.kafka" (list $root .values) | fromYaml -}}
{{- $secrets := dict "password" "SASL_PASSWORD" "token" "SASL_TOKEN" "ca" "SSL_CA" "certificate" "SSL_CERTIFICATE" "key" "SSL_KEY" -}}
metadata:
  labels:
    {{- include "tocsin.selector" (list $root .part) | nindent 4 }}
    {{- with merge (dict) $pod.labels $root.Values.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with merge (dict) $pod.annotations $root.Values.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ .account | default (include "tocsin.serviceAccount" $root) }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "tocsin.grace" (list $root .values) }}
  {{- with .restartPolicy }}
  restartPolicy: {{ . }}
  {{- end }}
  {{- range $field := list "priorityClassName" "runtimeClassName" }}
  {{- with index $pod $field }}
  {{ $field }}: {{ . }}
  {{- end }}
  {{- end }}
  securityContext:
    {{- toYaml $pod.securityContext | nindent 4 }}
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- range $field := list "nodeSelector" "tolerations" "affinity" }}
  {{- with index $pod $field }}
  {{ $field }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- if and .probes $pod.spreadOver }}
  topologySpreadConstraints:
    {{- range $pod.spreadOver }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "tocsin.selector" (list $root $.part) | nindent 10 }}
    {{- end }}
  {{- end }}
  containers:
    - name: tocsin
      image: {{ include "tocsin.image" (list $root .values) | quote }}
      imagePullPolicy: {{ dig "image" "pullPolicy" $root.Values.image.pullPolicy .values }}
      {{- with .command }}
      command:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      args:
        {{- toYaml .args | nindent 8 }}
      env:
        {{- range $name, $value := $config }}
        - name: TOCSIN_{{ upper $name }}
          value: {{ ternary $value (toJson $value) (kindIs "string" $value) | quote }}
        {{- end }}
        {{- range $name, $file := $root.Values.files }}
        - name: TOCSIN_{{ upper $name }}
          value: /etc/tocsin/files/{{ $name }}/{{ $file.key }}
        {{- end }}
        {{- range $what, $variable := $secrets }}
        {{- if or (index $kafka.keys $what) (and (eq $what "token") $kafka.tokenAudience) }}
        - name: TOCSIN_{{ $variable }}_FILE
          value: /etc/tocsin/kafka/{{ $what }}
        {{- end }}
        {{- end }}
        {{- with .env }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- with $pod.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- if .probes }}
      ports:
        - name: http
          containerPort: {{ $config.http_port }}
      startupProbe:
        httpGet: {path: /livez, port: http}
        periodSeconds: 1
        failureThreshold: {{ .values.startupSeconds | default 60 }}
      readinessProbe:
        httpGet: {path: /readyz, port: http}
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 2
      livenessProbe:
        httpGet: {path: /livez, port: http}
        periodSeconds: 5
        timeoutSeconds: 5
      {{- end }}
      resources:
        {{- toYaml $pod.resources | nindent 8 }}
      securityContext:
        {{- toYaml $pod.containerSecurityContext | nindent 8 }}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        {{- if $root.Values.files }}
        - name: files
          mountPath: /etc/tocsin/files
          readOnly: true
        {{- end }}
        {{- if or $kafka.existingSecret $kafka.tokenAudience }}
        - name: kafka
          mountPath: /etc/tocsin/kafka
          readOnly: true
        {{- end }}
        {{- with .mounts }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- with $pod.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: {{ $pod.tmpSize }}}
    {{- with $root.Values.files }}
    - name: files
      projected:
        defaultMode: 0440
        sources:
          {{- range $name, $file := . }}
          - {{ ternary "configMap" "secret" (hasKey $file "configMap") }}:
              name: {{ $file.configMap | default $file.secret }}
              items: [{key: {{ $file.key }}, path: {{ $name }}/{{ $file.key }}}]
          {{- end }}
    {{- end }}
    {{- if or $kafka.existingSecret $kafka.tokenAudience }}
    - name: kafka
      projected:
        defaultMode: 0440
        sources:
          {{- with $kafka.existingSecret }}
          - secret:
              name: {{ . }}
              items:
                {{- range $what, $key := $kafka.keys }}
                {{- with $key }}
                - {key: {{ . }}, path: {{ $what }}}
                {{- end }}
                {{- end }}
          {{- end }}
          {{- with $kafka.tokenAudience }}
          - serviceAccountToken: {path: token, audience: {{ . }}}
          {{- end }}
    {{- end }}
    {{- with .volumes }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with $pod.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{- /* Bootstrap servers of all parts. */}}
{{- define "tocsin.bootstraps" -}}
{{- range prepend (concat (list .Values.gateway .Values.topics) .Values.jobs) .Values.workers }}
{{- (include "tocsin.config" (list $ .) | fromYaml).bootstrap }},
{{- end }}
{{- end }}
