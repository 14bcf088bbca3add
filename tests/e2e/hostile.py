#!/usr/bin/env python3
"""Hostile requests to a running server: hostile.py PORT TLS_DIR PID. Each must be answered with the right code and a Status of the
right reason, within seconds, and the server must go on within bounded memory."""
import json, re, socket, ssl, sys, time

PORT, TLS, PID = int(sys.argv[1]), sys.argv[2], sys.argv[3]
JSON, MAPS = {"Content-Type": "application/json"}, "/api/v1/namespaces/default/configmaps"
NONE = "no reason"
SLOWEST = 15  # seconds; on a quiet machine all take less than one
failed = 0


def connect():
    c = ssl.create_default_context(cafile=TLS + "/ca.crt")
    c.check_hostname = False
    c.load_cert_chain(TLS + "/admin.crt", TLS + "/admin.key")
    return c.wrap_socket(socket.create_connection(("127.0.0.1", PORT), SLOWEST))


def answer(s):
    got = b""
    while b"\r\n\r\n" not in got:
        more = s.recv(65536)
        if not more:
            return 0, b""
        got += more
    head, body = got.split(b"\r\n\r\n", 1)
    length = re.search(rb"(?i)content-length: (\d+)", head)
    while length and len(body) < int(length[1]):
        more = s.recv(65536)
        if not more:
            break
        body += more
    return int(head.split()[1]), body


def raw(request):
    s = connect()
    try:
        s.sendall(request)
        return answer(s)
    except OSError as e:
        return 0, str(e).encode()
    finally:
        s.close()


def ask(method, path, body=b"", headers={}):
    body = body if isinstance(body, bytes) else body.encode()
    more = "".join("%s: %s\r\n" % h for h in headers.items())
    return raw(("%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n" % (method, path, len(body), more)).encode("latin1") + body)


def check(what, got, code, reason=None):
    """reason: of the Status; NONE: a Status without one; None: not looked at."""
    global failed
    took = time.time() - check.since
    status = {}
    if reason:
        try:
            status = json.loads(got[1])
        except ValueError:
            pass
    good = got[0] == code and took < SLOWEST and (not reason or (status.get("kind"), status.get("reason", NONE), status.get("code")) == ("Status", reason, code))
    failed += not good
    print("%s %-46s %3d %-24s %.2f s" % ("ok  " if good else "BAD ", what, got[0], status.get("reason", ""), took))
    if not good:
        print("    wanted %s %s, got: %s" % (code, reason, got[1][:300]))
    check.since = time.time()


def config_map(name, **more):
    return json.dumps(dict({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}, **more))


def bodies():
    half = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"n",'
    for what, body in [("JSON of 10,000 levels", '{"a":' * 10000 + "1" + "}" * 10000), ("10,000 open arrays", "[" * 10000),
                       ("a number out of range", half + '"generation":1e400}}'), ("a number of 5,000 digits", half + '"generation":' + "9" * 5000 + "}}"),
                       ("a number for int64 that is none", half + '"generation":99999999999999999999}}'),
                       ("bytes that are not UTF-8", (half + '"x":"').encode() + b"\xff" + b'"}}'), ("a NUL byte", half + '"x":"\0"}}'),
                       ("half a surrogate", half + '"x":"\\ud800"}}'), ("nothing", ""), ("half an object", half)]:
        check(what, ask("POST", MAPS, body, JSON), 400, "BadRequest")
    check("a NUL in a name", ask("POST", MAPS, config_map("a\0b"), JSON), 422, "Invalid")
    check("protobuf that is none", ask("POST", MAPS, b"k8s\0\x0a\xff\xff\xff\xff\x0f", {"Content-Type": "application/vnd.kubernetes.protobuf"}), 400, "BadRequest")
    check("4 MB", ask("POST", MAPS, config_map("big", data={"a": "x" * 4000000}), JSON), 413, "RequestEntityTooLarge")
    check("1.2 MB of data", ask("POST", MAPS, config_map("big", data={"a": "x" * 1200000}), JSON), 422, "Invalid")
    check("apply without a body", ask("PATCH", MAPS + "/a?fieldManager=m", b"", {"Content-Type": "application/apply-patch+yaml"}), 400, "BadRequest")
    laughs = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join("%s: &%s [%s]\n" % (c, c, ",".join(["*" + p] * 10)) for p, c in zip("abcdefghi", "bcdefghij"))
    check("a billion laughs", ask("PATCH", MAPS + "/a?fieldManager=m", laughs, {"Content-Type": "application/apply-patch+yaml"}), 400, "BadRequest")


def sizes():
    n = 100000
    check("100,000 keys", ask("POST", MAPS, config_map("keys", data={"k%d" % i: "" for i in range(n)}), JSON), 201)
    check("half of them patched away", ask("PATCH", MAPS + "/keys", json.dumps({"data": {"k%d" % i: None for i in range(0, n, 2)}}), {"Content-Type": "application/merge-patch+json"}), 200)
    check("one key 200,000 times", ask("POST", MAPS, config_map("twice")[:-1] + ',"data":{' + ",".join(['"a":"1"'] * 200000) + "}}", JSON), 201)
    check("200,000 unknown fields", ask("POST", MAPS, config_map("unknown")[:-1] + "," + ",".join('"u%d":1' % i for i in range(200000)) + "}", JSON), 201)
    ports = [{"name": "p%d" % i, "port": 80} for i in range(30000)]
    check("a Service of 30,000 ports that are one", ask("POST", "/api/v1/namespaces/default/services", json.dumps(
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": ports}}), JSON), 422, "Invalid")
    patch = {"Content-Type": "application/json-patch+json"}
    check("10,001 operations", ask("PATCH", MAPS + "/twice", json.dumps([{"op": "test", "path": "/kind", "value": "ConfigMap"}] * 10001), patch), 413, "RequestEntityTooLarge")
    bomb = [{"op": "add", "path": "/metadata/annotations", "value": {"a": "x" * 1000}}] + \
           [{"op": "copy", "from": "/metadata/annotations", "path": "/metadata/annotations/b%d" % i} for i in range(60)]
    check("copies of copies, 60 times", ask("PATCH", MAPS + "/twice", json.dumps(bomb), patch), 422, "Invalid")


def requests():
    for query in ["limit=abc", "limit=99999999999999999999", "timeoutSeconds=soon", "watch=1&timeoutSeconds=1e3", "labelSelector=a%20in%20(", "fieldSelector=spec.x%3D1", "fieldSelector=a", "continue=abc"]:
        check(query, ask("GET", MAPS + "?" + query), 400, "BadRequest")
    for query in ["labelSelector=%00", "labelSelector=%ff", "labelSelector=%zz"]:
        check(query, ask("DELETE", MAPS + "?" + query), 400, "BadRequest")
    check("a negative limit is none", ask("GET", MAPS + "?limit=-1"), 200)
    check("wrong Content-Type", ask("POST", MAPS, "k8s", {"Content-Type": "text/html"}), 415, "UnsupportedMediaType")
    check("wrong Accept", ask("GET", MAPS, b"", {"Accept": "text/html"}), 406, "NotAcceptable")
    check("a path that is not UTF-8", ask("GET", "/api/v1/namespaces/%ff/pods"), 400, "BadRequest")
    host = b" HTTP/1.1\r\nHost: x\r\n"
    post = b"POST " + MAPS.encode() + host
    for what, request in [
        ("two lengths", post + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"), ("a length and chunks", post + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("a chunk of no length", post + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"), ("a chunk of 2^64 bytes", post + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}"),
        ("a negative length", post + b"Content-Length: -1\r\n\r\n"), ("a method of nobody", b"FETCH /version" + host + b"\r\n"),
        ("HTTP/1.1 with a lone carriage return", b"GET /version HTTP/1.1\r\nHost: x\rY: z\r\n\r\n"), ("a header without a name", b"GET /version" + host + b": x\r\n\r\n"),
    ]:
        check(what, raw(request), 400, "BadRequest")
    check("a header of 80 KB", raw(b"GET /version" + host + b"X: " + b"a" * 80000 + b"\r\n\r\n"), 431, NONE)
    check("10,000 headers", raw(b"GET /version" + host + b"X: abcdef\r\n" * 10000 + b"\r\n"), 431, NONE)


def memory():
    return int(re.search(r"VmRSS:\s+(\d+)", open("/proc/%s/status" % PID).read())[1]) // 1024


def connections():
    for garbage in [b"\x16\x03\x01\xff\xff" + b"\0" * 5000, b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 20]:
        with socket.create_connection(("127.0.0.1", PORT)) as s:
            s.sendall(garbage)
    before = memory()
    idle = [socket.create_connection(("127.0.0.1", PORT)) for _ in range(900)]
    check("asked beside 900 connections that say nothing", ask("GET", "/livez"), 200)
    print("     900 idle connections: %d MiB more" % (memory() - before))
    for s in idle:
        s.close()


check.since = time.time()
bodies()
sizes()
requests()
connections()
check("and it still serves", ask("GET", MAPS + "/keys"), 200)
print("%d failed; resident: %d MiB" % (failed, memory()))
sys.exit(failed > 0 or memory() > 1024)
