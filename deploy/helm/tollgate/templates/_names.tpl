{{- define "tollgate.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Every template below takes a list: the root context and the service's name (edge, router, billing, media-jobs). */}}
{{- define "tollgate.name" -}}
{{- printf "%s-%s" (include "tollgate.fullname" (index . 0)) (index . 1) -}}
{{- end -}}

{{- define "tollgate.selector" -}}
app.kubernetes.io/name: tollgate
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "tollgate.labels" -}}
{{ include "tollgate.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version }}
{{- end -}}

{{- define "tollgate.values" -}}
{{- $root := index . 0 -}}
{{- get $root.Values (dict "edge" "edge" "router" "router" "billing" "billing" "media-jobs" "mediaJobs" | dig (index . 1) "") | toYaml -}}
{{- end -}}

{{/* Settings every service has, and the standard variables of OpenTelemetry. */}}
{{- define "tollgate.env.shared" -}}
{{- $root := index . 0 -}}
{{- $prefix := printf "TOLLGATE_%s" (index . 1 | upper | replace "-" "_") -}}
- name: {{ $prefix }}_ADMIN_ADDRESS
  value: "0.0.0.0:9090"
- name: {{ $prefix }}_LOG_LEVEL
  value: {{ $root.Values.logLevel | quote }}
- name: {{ $prefix }}_LOG_FORMAT
  value: {{ $root.Values.logFormat | quote }}
- name: {{ $prefix }}_DRAIN_SECONDS
  value: {{ $root.Values.drainSeconds | quote }}
{{- with $root.Values.otel.endpoint }}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
- name: OTEL_EXPORTER_OTLP_PROTOCOL
  value: {{ $root.Values.otel.protocol | quote }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: k8s.namespace.name={{ $root.Release.Namespace }},k8s.pod.name=$(POD_NAME)
{{- end }}
{{- end -}}

{{/* The password reaches libpq as PGPASSWORD, so it is in no URL. */}}
{{- define "tollgate.env.database" -}}
{{- $root := index . 0 -}}
{{- $pg := $root.Values.postgresql -}}
{{- $own := get $pg (dict "edge" "edge" "billing" "billing" "media-jobs" "mediaJobs" | dig (index . 1) "") -}}
{{- if $pg.existingSecret }}
- name: PGPASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ $pg.existingSecret }}
      key: {{ $own.passwordKey }}
{{- end }}
- name: TOLLGATE_{{ index . 1 | upper | replace "-" "_" }}_DATABASE_URL
  value: {{ printf "postgresql+psycopg://%s@%s:%v/%s?sslmode=%s" $own.user (required "postgresql.host: name the PostgreSQL server" $pg.host) $pg.port $own.database $pg.sslmode | quote }}
{{- end -}}

{{- define "tollgate.env.redis" -}}
{{- $root := index . 0 -}}
{{- $redis := $root.Values.redis -}}
{{- if $redis.existingSecret }}
- name: REDIS_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ $redis.existingSecret }}
      key: {{ $redis.passwordKey }}
{{- end }}
- name: TOLLGATE_{{ index . 1 | upper | replace "-" "_" }}_REDIS_URL
  value: {{ printf "redis://%s%s:%v/%v" (ternary ":$(REDIS_PASSWORD)@" "" (ne $redis.existingSecret "")) (required "redis.host: name the Redis or Valkey server" $redis.host) $redis.port $redis.database | quote }}
{{- end -}}

{{- define "tollgate.env.eventlog" -}}
{{- $root := index . 0 -}}
{{- if not $root.Values.kafka.brokers }}{{ fail "kafka.brokers: list at least one broker as host:port" }}{{ end -}}
- name: TOLLGATE_{{ index . 1 | upper | replace "-" "_" }}_EVENT_LOG_URL
  value: {{ printf "kafka://%s" (join "," $root.Values.kafka.brokers) | quote }}
{{- end -}}

{{- define "tollgate.env.config" -}}
- name: TOLLGATE_{{ index . 1 | upper | replace "-" "_" }}_CONFIG_ADDRESSES
  value: {{ printf "%s:9400" (include "tollgate.name" (list (index . 0) "edge-config")) | quote }}
{{- end -}}

{{/* The pod of a service: root, name, then a dict with env, ports, volumes, mounts, envFrom and preStopSeconds. */}}
{{- define "tollgate.pod" -}}
{{- $root := index . 0 -}}
{{- $service := index . 1 -}}
{{- $more := index . 2 -}}
{{- $own := include "tollgate.values" . | fromYaml -}}
metadata:
  labels:
    {{- include "tollgate.labels" . | nindent 4 }}
  {{- $annotations := merge (dict) $own.podAnnotations ($more.annotations | default dict) }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "tollgate.name" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ add $root.Values.drainSeconds ($more.preStopSeconds | default 0) 15 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile:
      type: RuntimeDefault
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "tollgate.selector" . | nindent 10 }}
  {{- with $own.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ $service }}
      image: {{ printf "%s%s:%s" $root.Values.image.prefix $service ($root.Values.image.tag | default $root.Chart.AppVersion) | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: {{ $root.Values.readOnlyRootFilesystem }}
        privileged: false
        capabilities:
          drop: [ALL]
      env:
        {{- include "tollgate.env.shared" . | nindent 8 }}
        {{- $more.env | nindent 8 }}
        {{- with $own.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $more.envFrom }}
      envFrom:
        - secretRef:
            name: {{ . }}
      {{- end }}
      ports:
        {{- range $more.ports }}
        - name: {{ .name }}
          containerPort: {{ .port }}
        {{- end }}
        - name: admin
          containerPort: 9090
      # A process is ready only when it can serve; it is alive as long as it answers, whatever it waits for.
      startupProbe:
        httpGet:
          path: /healthz
          port: admin
        periodSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet:
          path: /healthz
          port: admin
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet:
          path: /readyz
          port: admin
        periodSeconds: 3
        timeoutSeconds: 3
        failureThreshold: 2
      {{- with $more.preStopSeconds }}
      lifecycle:
        preStop:
          sleep:
            seconds: {{ . }}
      {{- end }}
      resources:
        {{- toYaml $own.resources | nindent 8 }}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        {{- $more.mounts | nindent 8 }}
  volumes:
    - name: tmp
      emptyDir:
        sizeLimit: 256Mi
    {{- with $more.volumes }}
    {{- . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* A headless Service between our services. It lists pods before they are ready: each waits for the others by itself. */}}
{{- define "tollgate.internal" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "tollgate.name" (list (index . 0) (index . 2)) }}
  labels:
    {{- include "tollgate.labels" . | nindent 4 }}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector:
    {{- include "tollgate.selector" . | nindent 4 }}
  ports:
    - name: grpc
      port: {{ index . 3 }}
      targetPort: grpc
      appProtocol: kubernetes.io/h2c
{{- end -}}

{{/* The volume claim of a StatefulSet: the values under `persistence`. */}}
{{- define "tollgate.claim" -}}
- metadata:
    name: state
  spec:
    accessModes: [ReadWriteOnce]
    {{- with .storageClass }}
    storageClassName: {{ . }}
    {{- end }}
    resources:
      requests:
        storage: {{ .size }}
{{- end -}}
