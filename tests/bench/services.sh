# From a change of a Service to its rule: a Service with one backend is made, and from the moment its EndpointSlice is sent to the API
# until the first connection to its cluster address succeeds; alone, beside 1,000 and beside 10,000 Services (three backends each).
# Then the whole table anew, and a kill -9 and restart beside all of them, until the node is Ready and every rule is checked.
. "$(dirname "$0")/lib.sh"
SERVICES=172.$((16 + INSTANCE % 16)).0.0/16 # room for 10,000
start_kogge
eventually 30 node_ready

cat >"$WORK/services.py" <<'P'
import http.client, json, socket, ssl, sys, threading, time
data, port, bridge_ip, what, first, count = sys.argv[1:4] + [sys.argv[4]] + [int(x) for x in sys.argv[5:7]]
def connection():
    tls = ssl.create_default_context(cafile=data + '/tls/ca.crt')
    tls.load_cert_chain(data + '/tls/admin.crt', data + '/tls/admin.key')
    return http.client.HTTPSConnection('127.0.0.1', int(port), context=tls)
def send(c, method, path, body=None):
    c.request(method, path, json.dumps(body) if body else None, {'Content-Type': 'application/json'})
    r = c.getresponse()
    text = r.read()
    if r.status >= 300: sys.exit('%s %s: %d %s' % (method, path, r.status, text[:300]))
    return json.loads(text)
ns = '/api/v1/namespaces/default/services'
slices = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices'
def service(name): return {'metadata': {'name': name}, 'spec': {'ports': [{'port': 80, 'targetPort': 8080}]}}
def slice_of(name, ips, target): return {'metadata': {'name': name, 'labels': {'kubernetes.io/service-name': name}}, 'addressType': 'IPv4',
    'ports': [{'name': '', 'port': target, 'protocol': 'TCP'}], 'endpoints': [{'addresses': [ip]} for ip in ips]}
def fill(numbers):
    c = connection()
    for i in numbers:
        send(c, 'POST', ns, service('s%d' % i))
        send(c, 'POST', slices, slice_of('s%d' % i, ['10.250.%d.%d' % (i // 250 % 250, i % 250 + k) for k in range(1, 4)], 8080))
if what == 'fill':
    threads = [threading.Thread(target=fill, args=(range(first + t, first + count, 8),)) for t in range(8)]
    [t.start() for t in threads]; [t.join() for t in threads]
else:
    server = socket.create_server((bridge_ip, 0), backlog=128)
    c = connection()
    for i in range(count):
        name = 'probe%d-%d' % (first, i)
        ip = send(c, 'POST', ns, service(name))['spec']['clusterIP']
        time.sleep(0.05)
        began = time.perf_counter()
        send(c, 'POST', slices, slice_of(name, [bridge_ip], server.getsockname()[1]))
        while True:
            s = socket.socket(); s.settimeout(0.002)
            try: s.connect((ip, 80)); break
            except OSError: s.close()
            if time.perf_counter() - began > 20: sys.exit('no rule for %s after 20 s' % ip)
        print(int((time.perf_counter() - began) * 1e6))
        s.close()
        send(c, 'DELETE', ns + '/' + name); send(c, 'DELETE', slices + '/' + name)
P
services() { python3 "$WORK/services.py" "$DATA" "$PORT" "${CIDR%.0/*}.1" "$@"; }
figure() { kogge plugin stats proxy --output json | jq -r ".. | .$1? // empty" | head -1; }
idle() { [ "$(figure idle)" = true ]; }

measure() { # LABEL KEY
  eventually 60 idle
  services probe "$3" 30 >"$WORK/$2"
  row "a Service's first endpoint, $1, p50" "$(ms "$(percentile 50 "$WORK/$2")")" ms
  row "a Service's first endpoint, $1, p99" "$(ms "$(percentile 99 "$WORK/$2")")" ms
  metric "$2_ms" "$(ms "$(percentile 50 "$WORK/$2")")"
  metric "$2_p99_ms" "$(ms "$(percentile 99 "$WORK/$2")")"
}
measure "alone" service1 1
services fill 0 1000
measure "beside 1,000" service1k 2
services fill 1000 9000
measure "beside 10,000" service10k 3
kogge plugin reload proxy >/dev/null
sleep 0.2
eventually 60 idle
whole=$(figure last_transaction_us)
row "the whole table of 10,000 anew" "$(ms "$whole")" ms
metric service10k_whole_ms "$(ms "$whole")"
kill_kogge
began=$(now_us)
start_kogge
eventually 60 node_ready
eventually 60 idle
again=$(($(now_us) - began))
row "restart beside 10,000 Services" "$(ms "$again")" ms
metric service10k_restart_ms "$(ms "$again")"
print_results
