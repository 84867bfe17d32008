{{- /* What cannot work, and no schema can say: a sentence each. */}}
{{- define "tocsin.check" -}}
{{- $root := . -}}
{{- $partitions := (include "tocsin.config" (list . .Values.workers) | fromYaml).partitions | int -}}
{{- $replicas := include "tocsin.replicas" . | int -}}
{{- $keda := .Values.keda -}}
{{- if $keda.enabled }}
{{- $most := $keda.maxReplicas | default $partitions | int }}
{{- if gt $most $partitions }}
{{- fail (printf "keda.maxReplicas is %d, and there are %d partitions (config.partitions): the workers beyond would have nothing to do." $most $partitions) }}
{{- end }}
{{- if gt (int $keda.minReplicas) $most }}
{{- fail (printf "keda.minReplicas is %d, more than keda.maxReplicas, %d." (int $keda.minReplicas) $most) }}
{{- end }}
{{- $config := include "tocsin.config" (list . .Values.workers) | fromYaml }}
{{- if and (hasPrefix "SASL" ($config.security_protocol | default "")) (eq ($config.sasl_mechanism | default "") "OAUTHBEARER") (not $config.sasl_token_url) }}
{{- fail "keda.enabled is true, and KEDA has tokens from config.sasl_token_url alone: set that, or leave KEDA out." }}
{{- end }}
{{- else if gt $replicas $partitions }}
{{- fail (printf "workers.replicas is %d, and there are %d partitions (config.partitions): the workers beyond would have nothing to do, and be taken for dead." $replicas $partitions) }}
{{- end }}
{{- if and .Values.gateway.enabled (gt (int .Values.gateway.replicas) $partitions) }}
{{- fail (printf "gateway.replicas is %d, and there are %d partitions (config.partitions): the gateways beyond would have nothing to do." (int .Values.gateway.replicas) $partitions) }}
{{- end }}
{{- $parts := dict "workers" .Values.workers "topics" .Values.topics "gateway" .Values.gateway }}
{{- range $number, $job := .Values.jobs }}
{{- $_ := set $parts (printf "jobs[%d]" $number) $job }}
{{- end }}
{{- range $name, $values := $parts }}
{{- $config := include "tocsin.config" (list $root $values) | fromYaml }}
{{- $kafka := include "tocsin.kafka" (list $root $values) | fromYaml }}
{{- if le (include "tocsin.grace" (list $root $values) | int) (ceil $config.drain_timeout_s | int) }}
{{- fail (printf "terminationGracePeriodSeconds of %s must be more than drain_timeout_s, %v: it would be killed while it drains." $name $config.drain_timeout_s) }}
{{- end }}
{{- include "tocsin.checkKafka" (list $name $config $kafka) }}
{{- include "tocsin.checkConfig" (list $name $config $root.Values.files) }}
{{- range $setting, $_ := $root.Values.files }}
{{- if hasKey $config $setting }}
{{- fail (printf "%s stands in files and in config: leave one out." $setting) }}
{{- end }}
{{- end }}
{{- if and $kafka.tokenAudience $root.Values.serviceAccount.create $root.Values.topics.create }}
{{- fail "kafka.tokenAudience needs a service account that is there before the release, for the Job that creates topics: make one, and set serviceAccount.create to false and serviceAccount.name." }}
{{- end }}
{{- end }}
{{- $meet := list "workers" }}
{{- if .Values.gateway.enabled }}{{ $meet = append $meet "gateway" }}{{ end }}
{{- if .Values.topics.create }}{{ $meet = append $meet "topics" }}{{ end }}
{{- range $setting, $default := dict "prefix" "tocsin." "partitions" 8 }}
{{- $found := dict }}
{{- range $name := $meet }}
{{- $_ := set $found (dig $setting $default (include "tocsin.config" (list $root (index $parts $name)) | fromYaml) | toJson) $name }}
{{- end }}
{{- if gt (len $found) 1 }}
{{- fail (printf "%s differs between %s: they would not meet in the same topics." $setting (values $found | sortAlpha | join " and ")) }}
{{- end }}
{{- end }}
{{- if and .Values.workers.cache.storageClass (not .Values.workers.cache.persistent) }}
{{- fail "workers.cache.storageClass is of a volume, and workers.cache.persistent is false: set it to true, or leave the class out." }}
{{- end }}
{{- $names := list }}
{{- range .Values.jobs }}
{{- if has .name $names }}
{{- fail (printf "Two jobs are called %s." .name) }}
{{- end }}
{{- if and (gt (int .completions) 1) (not (contains "JOB_COMPLETION_INDEX" (toJson .))) }}
{{- fail (printf "Job %s has %d completions, and nothing of it names $(JOB_COMPLETION_INDEX): all would do the same." .name (int .completions)) }}
{{- end }}
{{- $names = append $names .name }}
{{- end }}
{{- end }}

{{- /* What the settings refuse at the start, of values that stand side by side here: (list name config files) */}}
{{- define "tocsin.checkConfig" -}}
{{- $name := index . 0 }}{{ $config := index . 1 }}{{ $files := index . 2 }}
{{- $grace_ms := dig "grace_ms" 5000 $config | int64 }}{{ $bar_ms := mul 1000 (dig "bar_s" 5 $config | int64) }}
{{- if or (mod $grace_ms $bar_ms) (gt $grace_ms (mul 6 $bar_ms)) }}
{{- fail (printf "grace_ms is %d: it must be up to six whole bars (bar_s), of %d ms each (%s)." $grace_ms $bar_ms $name) }}
{{- end }}
{{- if not (regexMatch `^([a-z.]+=[0-9]+[smhd]([,\s]+|$))*$` ($config.retention | default "")) }}
{{- fail (printf "config.retention is %s: expected times of topics, such as orders=2d,transfers=7d (%s)." $config.retention $name) }}
{{- end }}
{{- if and $config.shadow (not $config.registry) }}
{{- fail (printf "config.shadow is %s, a model of config.registry, which is not given (%s)." $config.shadow $name) }}
{{- end }}
{{- if and (or $files.pseudonym_keys_file $config.pseudonym_keys_file) (not (or $files.deadletter_key_file $config.deadletter_key_file)) }}
{{- fail (printf "pseudonym_keys_file needs deadletter_key_file, of files or of config: dead letters would name accounts in clear (%s)." $name) }}
{{- end }}
{{- end }}

{{- /* (list name config kafka) */}}
{{- define "tocsin.checkKafka" -}}
{{- $name := index . 0 }}{{ $config := index . 1 }}{{ $kafka := index . 2 }}
{{- $protocol := $config.security_protocol | default "PLAINTEXT" }}
{{- $given := list }}
{{- range $what, $key := $kafka.keys }}{{ if $key }}{{ $given = append $given $what }}{{ end }}{{ end }}
{{- if and $given (not $kafka.existingSecret) }}
{{- fail (printf "kafka.keys names %s, and kafka.existingSecret no secret that has it (%s)." (join ", " $given) $name) }}
{{- end }}
{{- if and $kafka.existingSecret (not $given) }}
{{- fail (printf "kafka.existingSecret is given, and kafka.keys says nothing of what is in it (%s)." $name) }}
{{- end }}
{{- if and (has "key" $given) (not (has "certificate" $given)) }}
{{- fail (printf "kafka.keys has a key without a certificate (%s)." $name) }}
{{- end }}
{{- if and (not (hasSuffix "SSL" $protocol)) (or (has "ca" $given) (has "certificate" $given)) }}
{{- fail (printf "kafka.keys names certificates, and config.security_protocol is %s: SSL or SASL_SSL is meant? (%s)" $protocol $name) }}
{{- end }}
{{- if hasPrefix "SASL" $protocol }}
{{- $password := and (has "password" $given) $config.sasl_username }}
{{- if ne ($config.sasl_mechanism | default "SCRAM-SHA-512") "OAUTHBEARER" }}
{{- if not $password }}
{{- fail (printf "config.security_protocol is %s: it needs config.sasl_username, and kafka.keys.password of kafka.existingSecret (%s)." $protocol $name) }}
{{- end }}
{{- else if not (or (has "token" $given) $kafka.tokenAudience (and $config.sasl_token_url $password)) }}
{{- fail (printf "OAUTHBEARER needs kafka.tokenAudience, or kafka.keys.token, or config.sasl_token_url with config.sasl_username and kafka.keys.password (%s)." $name) }}
{{- end }}
{{- if and (has "token" $given) $kafka.tokenAudience }}
{{- fail "kafka.keys.token and kafka.tokenAudience are two tokens: leave one out." }}
{{- end }}
{{- else if or (has "password" $given) (has "token" $given) $kafka.tokenAudience }}
{{- fail (printf "A password or token is given, and config.security_protocol is %s: SASL_SSL is meant? (%s)" $protocol $name) }}
{{- end }}
{{- end }}
