# Given two stacks of manifests that others wrote (podinfo's Helm chart with its cache, and its kustomize overlay of frontend, backend and
# cache), when helm and kubectl apply -k bring them up unchanged but for their images, then every Deployment becomes available and answers
# through its Service; when they are deleted nothing of them stays.
. "$(dirname "$0")/lib.sh"
VERSION=v1.8.1-0.20250910200901-e86405a8674e # of podinfo 6.9.2 (Apache-2.0), as the Go module proxy serves it
SHA256=bdcbe8b25d74e9fc64db41f2b138212e38464b670d8917ca4b99c3a363100dbb
HELM=$BUILD/clients/helm
SOURCE=$BUILD/clients/podinfo-$VERSION.zip

say "the manifests, from their publisher"
if [ ! -e "$SOURCE" ]; then
  curl -sSfL --retry 3 --retry-all-errors --max-time 60 -o "$SOURCE.part" "https://proxy.golang.org/github.com/stefanprodan/podinfo/@v/$VERSION.zip"
  mv "$SOURCE.part" "$SOURCE"
fi
echo "$SHA256  $SOURCE" | sha256sum -c --quiet || { rm -f "$SOURCE"; fail "podinfo's manifests are not those this story was written for"; }
python3 -m zipfile -e "$SOURCE" "$WORK/source"
STACK=$WORK/source/github.com/stefanprodan/podinfo@$VERSION

start_kogge
eventually 30 node_ready
kogge image build-rootfs kogge/busybox:latest

# Images with the programs that the manifests call: they answer what the probes and clients ask for.
program() { # FILE: a script of /bin/sh from standard input
  mkdir -p "$(dirname "$1")"
  cat >"$1"
  chmod 755 "$1"
}
image() { # NAME ROOT: imports the tree as an image on top of busybox
  local dir=$WORK/image-${1%%[/:]*}
  mkdir -p "$dir" "$2/bin" "$2/tmp"
  cp /bin/busybox "$2/bin/busybox"
  for applet in sh cat echo grep httpd mkdir nc sed sleep wget; do ln -sf busybox "$2/bin/$applet"; done
  tar -C "$2" -cf "$dir/layer.tar" .
  printf '{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/bin"],"WorkingDir":"/home/app"},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$(sha256sum "$dir/layer.tar" | cut -d' ' -f1)" >"$dir/config.json"
  printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$1" >"$dir/manifest.json"
  tar -C "$dir" -cf "$dir.tar" manifest.json config.json layer.tar
  kogge image import "$dir.tar"
}
program "$WORK/podinfo/home/app/podinfo" <<'SH'
#!/bin/sh
# Serves its own name, the answers its probes want, and what its cache says.
for a in "$@"; do case $a in --port=*) port=${a#*=} ;; --cache-server=*) cache=${a##*/} ;; esac; done
mkdir -p /tmp/www/cgi-bin
echo "podinfo on $HOSTNAME" >/tmp/www/index.html
echo OK >/tmp/www/healthz
echo OK >/tmp/www/readyz
printf '#!/bin/sh\necho; echo PING | nc -w 2 %s %s\n' "${cache%:*}" "${cache#*:}" >/tmp/www/cgi-bin/cache
/bin/busybox chmod 755 /tmp/www/cgi-bin/cache
trap exit TERM
httpd -f -p "$port" -h /tmp/www &
wait
SH
program "$WORK/podinfo/bin/podcli" <<'SH'
#!/bin/sh
exec wget -q -O /dev/null "http://$3"
SH
program "$WORK/redis/bin/redis-server" <<'SH'
#!/bin/sh
grep -q '^maxmemory 64mb' "$1" || { echo "configuration $1 is not what it should be"; exit 1; }
echo kept >/var/lib/redis/dump
trap exit TERM
nc -ll -p 6379 -e /bin/pong &
wait
SH
program "$WORK/redis/bin/pong" <<'SH'
#!/bin/sh
read line && echo "+PONG"
SH
program "$WORK/redis/bin/redis-cli" <<'SH'
#!/bin/sh
echo PING | nc -w 2 127.0.0.1 6379 | grep -q PONG
SH
image podinfo.local/podinfo:6.9.2 "$WORK/podinfo"
image redis.local/redis:7.0.7 "$WORK/redis"

answers() { # NAMESPACE SERVICE
  local at
  at=$(k -n "$1" get service "$2" -o jsonpath='{.spec.clusterIP}:{.spec.ports[0].port}')
  curl -sf --max-time 3 "http://$at/" | grep -q "podinfo on $2" && curl -sf --max-time 5 "http://$at/cgi-bin/cache" | grep -q PONG
}

say "helm installs the chart, with two replicas, a disruption budget and the cache"
"$HELM" install web "$STACK/charts/podinfo" -n chart --create-namespace --set image.repository=podinfo.local/podinfo \
  --set redis.repository=redis.local/redis --set replicaCount=2 --set redis.enabled=true \
  --set podDisruptionBudget.minAvailable=1 --wait --timeout 90s
expect "deployed" "$("$HELM" -n chart status web)"
k -n chart get deployments,services,pods -o wide
[ "$(k -n chart get deployment web-podinfo -o jsonpath='{.status.availableReplicas}')" = 2 ] || fail "not two replicas"
eventually 20 answers chart web-podinfo

say "kubectl applies the overlay of frontend, backend and cache"
mkdir "$WORK/overlay"
cat >"$WORK/overlay/kustomization.yaml" <<YAML
resources: [../source/github.com/stefanprodan/podinfo@$VERSION/deploy/overlays/dev]
images:
- {name: ghcr.io/stefanprodan/podinfo, newName: podinfo.local/podinfo}
- {name: redis, newName: redis.local/redis}
YAML
k apply -k "$WORK/overlay"
for d in frontend backend cache; do k -n dev rollout status "deployment/$d" --timeout=90s; done
eventually 20 answers dev frontend
eventually 20 answers dev backend
[ "$(k -n dev get pods -l app=cache -o jsonpath='{.items[0].status.containerStatuses[0].restartCount}')" = 0 ] || fail "the cache restarted"

say "helm upgrades and rolls back, then all goes"
"$HELM" upgrade web "$STACK/charts/podinfo" -n chart --reuse-values --set replicaCount=1 --set ui.message=hi --wait --timeout 90s
"$HELM" rollback web 1 -n chart --wait --timeout 90s
expect "3" "$("$HELM" -n chart history web | tail -1)"
"$HELM" uninstall web -n chart --wait --timeout 90s
k delete -k "$WORK/overlay" --timeout=90s
k delete namespace chart --timeout=60s
none() { [ -z "$(k get pods -A --no-headers 2>/dev/null)" ]; }
eventually 60 none
