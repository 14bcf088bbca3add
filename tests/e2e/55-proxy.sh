# Given a pod that shows what it was asked, when it is asked through the API server's proxy of pods, services and nodes, then requests,
# answers and upgraded connections pass as Kubernetes passes them; and kubectl top tells what pods and nodes use.
. "$(dirname "$0")/lib.sh"
start_kogge
eventually 30 node_ready
kogge image build-rootfs kogge/busybox:latest
k apply -f "$ROOT/tests/e2e/data/echo.yaml"
k wait --for=condition=Ready pod/echo --timeout=30s
N=/api/v1/namespaces/default
node=$(k get nodes -o jsonpath='{.items[0].metadata.name}')
call() { curl -s --cacert "$DATA/tls/ca.crt" --cert "$DATA/tls/admin.crt" --key "$DATA/tls/admin.key" "$@"; }
url=https://127.0.0.1:$PORT

say "pods: by their first port, by number, with a scheme; all verbs, query and body"
eventually 5 k get --raw "$N/pods/echo/proxy/"
expect "GET /a/b%20c?x=1&y=%2F" "$(k get --raw "$N/pods/echo/proxy/a/b%20c?x=1&y=%2F")"
for name in echo echo:8080 http:echo:8080; do
  for verb in GET POST PUT PATCH DELETE OPTIONS; do
    got=$(call -X $verb -d body -H 'Authorization: Basic c2VjcmV0' -H 'X-Mine: yes' "$url$N/pods/$name/proxy/p")
    expect "$verb /p" "$got"
    expect "x-mine: yes" "$got"
    expect "X-Forwarded-Uri: $N/pods/$name/proxy/p" "$got"
    expect "body" "$got"
    [[ $got != *c2VjcmV0* ]] || fail "credentials were passed on: $got"
  done
done
got=$(call --http1.1 -I "$url$N/pods/echo/proxy/p")
expect "HTTP/1.1 200" "$got"
[ "$(call -o /dev/null -w '%{http_code}' "$url$N/pods/echo/proxy/none")" = 204 ] || fail "204 does not pass"

say "a path without a slash is redirected; links and redirects lead through the proxy"
expect "301 $url$N/pods/echo/proxy/?q=1" "$(call -o /dev/null -w '%{http_code} %{redirect_url}' "$url$N/pods/echo/proxy?q=1")"
expect "POST /" "$(call -X POST "$url$N/pods/echo/proxy?q=1")"
expect "302 $url$N/pods/echo/proxy/page/" "$(call -o /dev/null -w '%{http_code} %{redirect_url}' "$url$N/pods/echo/proxy/moved")"
expect "302 https://elsewhere/x" "$(call -o /dev/null -w '%{http_code} %{redirect_url}' "$url$N/pods/echo/proxy/away")"
page=$(call "$url$N/pods/echo/proxy/page")
P=$N/pods/echo/proxy
expect "<a href=\"$P/other/?q=1\">1</a><a href=\"beside\">2</a><A HREF=$P/caps>3</A><img alt=\"<a href=/no>\" src='$P/i.png'>" "$page"
expect "<!-- <a href=\"/no\"> --><script src=\"$P/s.js\">var x = \"<a href=/no>\";</script><a href=\"https://elsewhere/x\">4</a>" "$page"

say "what comes slowly passes as it comes, what is big passes whole, what breaks off is seen to"
call -N "$url$P/slow" >"$WORK/slow" &
slow=$!
eventually 10 grep -q one "$WORK/slow"
! grep -q two "$WORK/slow" || fail "it came at once"
kill $slow
for http in --http1.1 --http2; do
  [ "$(call $http "$url$P/big" | wc -c)" = 20000000 ] || fail "not all of it came ($http)"
  if call $http -o /dev/null "$url$P/short"; then fail "a short answer passes for a whole one ($http)"; fi
done

say "an upgraded connection"
mkfifo "$WORK/say"
openssl s_client -quiet -connect "127.0.0.1:$PORT" -cert "$DATA/tls/admin.crt" -key "$DATA/tls/admin.key" <"$WORK/say" >"$WORK/said" 2>/dev/null &
upgraded=$!
exec 7>"$WORK/say"
printf 'GET %s/upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n' "$P" >&7
eventually 5 grep -q "Upgrade: shout" "$WORK/said"
expect "101 Switching Protocols" "$(cat "$WORK/said")"
echo hello >&7
eventually 5 grep -q "you said hello" "$WORK/said"
kill $upgraded
exec 7>&-

say "a pod that speaks TLS"
uid=$(k get pod echo -o jsonpath='{.metadata.uid}')
openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=anybody -keyout "$WORK/tls.key" -out "$WORK/tls.crt" 2>/dev/null
head -c 3000000 /dev/urandom | base64 >"$WORK/tls-page"
(cd "$WORK" && exec nsenter --net="$RUN/ns/$uid-0/net" openssl s_server -accept 8443 -cert tls.crt -key tls.key -WWW >/dev/null 2>&1) &
tls=$!
eventually 5 k get --raw "$N/pods/https:echo:8443/proxy/tls-page"
call "$url$N/pods/https:echo:8443/proxy/tls-page" | cmp - "$WORK/tls-page" || fail "what came over TLS differs"
kill $tls
nsenter --net="$RUN/ns/$uid-0/net" python3 -m http.server 8444 --directory "$WORK" >/dev/null 2>&1 &
plain=$!
eventually 5 k get --raw "$N/pods/echo:8444/proxy/"
refuse "server gave HTTP response to HTTPS client" k get --raw "$N/pods/https:echo:8444/proxy/"
kill $plain

say "services: by the port's name and number; refusals in the API server's words"
eventually 10 k get --raw "$N/services/echo:web/proxy/s"
for name in echo:web echo:80 http:echo:web; do expect "GET /s" "$(k get --raw "$N/services/$name/proxy/s")"; done
refuse 'no endpoints available for service "nobody"' k get --raw "$N/services/nobody/proxy/"
refuse 'no service port 81 found for service "echo"' k get --raw "$N/services/echo:81/proxy/"
expect '"reason":"ServiceUnavailable"' "$(call "$url$N/services/nobody/proxy/")"
refuse 'pods "nobody" not found' k get --raw "$N/pods/nobody/proxy/"
refuse "connection refused" k get --raw "$N/pods/echo:9/proxy/"
expect 'invalid pod request \"a:b:c:d\"' "$(call "$url$N/pods/a:b:c:d/proxy/")"

say "nobody passes without the right to it"
k create serviceaccount visitor
token=$(k create token visitor)
as() { curl -s --cacert "$DATA/tls/ca.crt" -H "Authorization: Bearer $token" "$url$1"; }
expect 'cannot get resource \"pods/proxy\"' "$(as "$P/")"
expect 'cannot get resource \"nodes/proxy\"' "$(as "/api/v1/nodes/$node/proxy/pods")"
expect 'cannot list resource \"pods\" in API group \"metrics.k8s.io\"' "$(as /apis/metrics.k8s.io/v1beta1/namespaces/default/pods)"

say "nodes: what a kubelet serves"
M=/api/v1/nodes/$node/proxy
for check in healthz healthz/syncloop; do [ "$(k get --raw "$M/$check")" = ok ] || fail "$check"; done
expect "healthz check passed" "$(k get --raw "$M/healthz?verbose")"
[ "$(k get --raw "$M/pods" | jq -r '.items[0].metadata.name')" = echo ] || fail "pods"
[ "$(k get --raw "/api/v1/nodes/$node:10250/proxy/stats/summary" | jq -r '.pods[0].containers | length')" = 2 ] || fail "stats/summary"
expect "kubelet_running_pods 1" "$(k get --raw "$M/metrics")"
expect 'container_cpu_usage_seconds_total{container="idle",namespace="default",pod="echo"}' "$(k get --raw "$M/metrics/cadvisor")"
expect "node_memory_working_set_bytes" "$(k get --raw "$M/metrics/resource")"
expect '<a href="' "$(k get --raw "$M/logs/")"
refuse "NotFound" k get --raw "$M/logs/../../etc/passwd"
[ "$(k get --raw "$M/configz" | jq .kubeletconfig.maxPods)" = 110 ] || fail "configz"

say "kubectl top: a loop held to 200m uses that, or less where others want the processors, too"
loop_is_held() {
  local milli
  milli=$(k top pod echo --containers --no-headers | awk '$2 == "idle" {print $3 + 0}')
  echo "$milli"
  [ "$milli" -ge 30 ] && [ "$milli" -le 260 ]
}
for KUBECTL in "$KUBECTL135" "$KUBECTL132"; do
  eventually 10 loop_is_held
  expect "echo" "$(k top pods -A --no-headers)"
  expect "echo" "$(k top pods -l app=echo --no-headers)"
  expect "$node" "$(k top nodes --no-headers)"
done
expect "NodeMetricsList" "$(k get --raw /apis/metrics.k8s.io/v1beta1/nodes)"
expect "not found" "$(k get --raw /apis/metrics.k8s.io/v1beta1/namespaces/default/pods/nobody 2>&1 || true)"
