{{- define "nodetally.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "nodetally.fullname" -}}
{{- $name := include "nodetally.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- /* Names of Services have at most 63 characters, and ours get up to 9 more. */ -}}
{{- default $full .Values.fullnameOverride | trunc 54 | trimSuffix "-" -}}
{{- end -}}

{{- define "nodetally.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{- define "nodetally.selectorLabels" -}}
app.kubernetes.io/name: {{ include "nodetally.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- /* Another name than the agents', so that neither's selector takes the other's pods. */ -}}
{{- define "nodetally.receiverSelectorLabels" -}}
app.kubernetes.io/name: {{ include "nodetally.name" . }}-receiver
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "nodetally.chartLabels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "nodetally.labels" -}}
{{ include "nodetally.selectorLabels" . }}
{{ include "nodetally.chartLabels" . }}
{{- end -}}

{{- define "nodetally.receiverLabels" -}}
{{ include "nodetally.receiverSelectorLabels" . }}
{{ include "nodetally.chartLabels" . }}
{{- end -}}

{{- define "nodetally.serviceAccountName" -}}
{{- default (ternary (include "nodetally.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "nodetally.secretName" -}}
{{- default (printf "%s-token" (include "nodetally.fullname" .)) .Values.secretName -}}
{{- end -}}

{{- define "nodetally.image" -}}
{{- $tag := default .Chart.AppVersion .Values.image.tag -}}
{{- .Values.image.repository -}}:{{- $tag -}}
{{- with .Values.image.digest -}}@{{- . -}}{{- end -}}
{{- end -}}

{{- define "nodetally.receiverUrl" -}}
{{ if .Values.receiver.tlsSecretName }}https{{ else }}http{{ end }}://{{ include "nodetally.fullname" . }}-receiver.{{ include "nodetally.namespace" . }}.svc:{{ .Values.receiver.service.port }}
{{- end -}}

{{- /* The endpoint of the receiver that is installed beside the agents. */ -}}
{{- define "nodetally.receiverEndpoint" -}}
name: receiver
dialect: samples
url: {{ include "nodetally.receiverUrl" . }}
{{- if .Values.receiver.tokensSecretName }}
bearer_token_file: /run/secrets/nodetally/token
{{- end }}
{{- if .Values.receiver.tlsSecretName }}
ca_file: /run/secrets/receiver/ca.crt
{{- end }}
{{- end -}}

{{- /* The key of a pair, bare where TOML allows it. */ -}}
{{- define "nodetally.toml.key" -}}
{{- if regexMatch "^[A-Za-z0-9_-]+$" . }}{{ . }}{{ else }}{{ toJson . }}{{ end -}}
{{- end -}}

{{- /* A value in one line. Numbers of values.yaml are floats by now, and `toToml` would write them so.
       JSON's escapes are TOML's too. */ -}}
{{- define "nodetally.toml.value" -}}
{{- if kindIs "float64" . -}}
  {{- if eq (floor .) . }}{{ printf "%d" (int64 .) }}{{ else }}{{ toJson . }}{{ end -}}
{{- else if kindIs "slice" . -}}
  {{- $parts := list -}}
  {{- range . }}{{ $parts = append $parts (include "nodetally.toml.value" .) }}{{ end -}}
  [{{ join ", " $parts }}]
{{- else if kindIs "map" . -}}
  {{- $parts := list -}}
  {{- range $key, $value := . -}}
    {{- $parts = append $parts (printf "%s = %s" (include "nodetally.toml.key" $key) (include "nodetally.toml.value" $value)) -}}
  {{- end -}}
  { {{- join ", " $parts -}} }
{{- else -}}
  {{- toJson . -}}
{{- end -}}
{{- end -}}

{{- define "nodetally.toml.pairs" -}}
{{- range $key, $value := . }}
{{- if not (kindIs "invalid" $value) }}
{{ include "nodetally.toml.key" $key }} = {{ include "nodetally.toml.value" $value }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* A map of sections as a TOML document. values.schema.json holds that there is nothing else. */ -}}
{{- define "nodetally.toml" -}}
{{- range $name, $section := . }}
{{- if kindIs "map" $section }}
[{{ $name }}]
{{- include "nodetally.toml.pairs" $section }}
{{ else if kindIs "slice" $section }}
{{- range $section }}
[[{{ $name }}]]
{{- include "nodetally.toml.pairs" . }}
{{ end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "nodetally.configToml" -}}
{{- if .Values.configText -}}
{{- .Values.configText | trim }}
{{ if .Values.receiver.enabled }}
{{ include "nodetally.toml" (dict "endpoint" (list (include "nodetally.receiverEndpoint" . | fromYaml))) | trim }}
{{ end -}}
{{- else -}}
{{- $config := deepCopy .Values.config -}}
{{- if .Values.receiver.enabled -}}
{{- $own := include "nodetally.receiverEndpoint" . | fromYaml -}}
{{- range default (list) $config.endpoint -}}
{{- if eq (toString .name) $own.name -}}
{{- fail "config.endpoint: the name \"receiver\" is that of the endpoint which receiver.enabled adds; name yours otherwise" -}}
{{- end -}}
{{- end -}}
{{- $_ := set $config "endpoint" (append (default (list) $config.endpoint) $own) -}}
{{- end -}}
{{- include "nodetally.toml" $config | trim }}
{{ end -}}
{{- end -}}


{{- /* Where the probes ask: the host without an IPv6 address's brackets. */ -}}
{{- define "nodetally.probe" -}}
{{- $listen := .Values.config.status.listen -}}
host: {{ $listen | splitList ":" | initial | join ":" | trimPrefix "[" | trimSuffix "]" | quote }}
port: {{ $listen | splitList ":" | last }}
{{- end -}}

{{- /* How the operator's endpoint finds and asks; a PodMonitor's or ServiceMonitor's values and the root. */ -}}
{{- define "nodetally.monitorEndpoint" -}}
{{- $monitor := index . 0 -}}
{{- $root := index . 1 -}}
port: metrics
interval: {{ $monitor.interval }}
{{- with $monitor.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with $monitor.bearerTokenKey }}
authorization:
  credentials:
    name: {{ include "nodetally.secretName" $root | quote }}
    key: {{ . | quote }}
{{- end }}
{{- with $monitor.tlsConfig }}
scheme: https
tlsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
relabelings:
  # The series have labels of these names for the pods that they measure.
  - action: labeldrop
    regex: namespace|pod|container|endpoint
  {{- with $monitor.relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $monitor.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
