#!/usr/bin/env python3
"""Writes a small seed corpus for every fuzzing target: seeds.py OUT [FACTS]

What the tree itself holds (YAML of the tests and the demo), a few inputs made here, and, where FACTS (shared/k8s) is,
recorded objects in JSON and protobuf, requests and changes."""
import base64, glob, gzip, io, json, os, struct, subprocess, sys, tarfile, zlib

CUT = b"\x1e"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT, FACTS = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
count = {}


def put(target, *parts, first=b""):
    d = os.path.join(OUT, target)
    os.makedirs(d, exist_ok=True)
    count[target] = count.get(target, 0) + 1
    with open(os.path.join(d, "%05d" % count[target]), "wb") as f:
        f.write(first + CUT.join(p if isinstance(p, bytes) else p.encode() for p in parts))


def text(o):
    return json.dumps(o, separators=(",", ":"), ensure_ascii=False)


def msgpack(o):
    if o is None or isinstance(o, bool):
        return bytes([{None: 0xC0, False: 0xC2, True: 0xC3}[o]])
    if isinstance(o, int):
        if 0 <= o < 128:
            return bytes([o])
        return b"\xd3" + struct.pack(">q", o) if o < 1 << 63 else b"\xcf" + struct.pack(">Q", o)
    if isinstance(o, float):
        return b"\xcb" + struct.pack(">d", o)
    if isinstance(o, bytes):
        return b"\xc4" + bytes([len(o)]) + o
    if isinstance(o, str):
        s = o.encode()
        return (bytes([0xA0 | len(s)]) if len(s) < 32 else b"\xda" + struct.pack(">H", len(s))) + s
    if isinstance(o, list):
        return b"\xdc" + struct.pack(">H", len(o)) + b"".join(map(msgpack, o))
    return b"\xde" + struct.pack(">H", len(o)) + b"".join(msgpack(k) + msgpack(v) for k, v in o.items())


def recorded(name):
    path = os.path.join(FACTS, name)
    if not FACTS or not os.path.exists(path):
        return []
    with (gzip.open if name.endswith(".gz") else open)(path, "rt") as f:
        return [json.loads(line) for line in f]


META = {"name": "a", "namespace": "b", "labels": {"x": "y"}}
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": META,
       "spec": {"containers": [{"name": "c", "image": "busybox:1", "ports": [{"containerPort": 80}],
                                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
                                "env": [{"name": "A", "value": "$(B)"}],
                                "livenessProbe": {"httpGet": {"path": "/", "port": "http"}}}],
                "tolerations": [{"key": "k", "operator": "Exists"}], "volumes": [{"name": "v", "emptyDir": {}}]}}
OBJECTS = [
    POD,
    {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": META,
     "spec": {"replicas": 3, "selector": {"matchLabels": {"x": "y"}},
              "template": {"metadata": {"labels": {"x": "y"}}, "spec": POD["spec"]}}},
    {"apiVersion": "v1", "kind": "Service", "metadata": META,
     "spec": {"type": "NodePort", "selector": {"x": "y"}, "ports": [{"port": 80, "targetPort": "http", "nodePort": 30000}]}},
    {"apiVersion": "v1", "kind": "Secret", "metadata": META, "data": {"k": "aGVsbG8="}, "stringData": {"z": "q"}},
    {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": META,
     "spec": {"schedule": "*/5 * * * *", "timeZone": "Europe/Berlin",
              "jobTemplate": {"spec": {"template": {"spec": POD["spec"]}}}}},
    {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r"},
     "rules": [{"apiGroups": ["*"], "resources": ["pods/log"], "verbs": ["get"]}]},
]
SCHEMA = {"type": "object", "required": ["spec"],
          "properties": {"spec": {"type": "object", "properties": {
              "size": {"type": "integer", "minimum": 1, "maximum": 9, "default": 2},
              "mode": {"type": "string", "enum": ["a", "b"], "pattern": "^[a-z]+$"},
              "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                        "items": {"type": "object", "required": ["name"],
                                  "properties": {"name": {"type": "string"}, "n": {"x-kubernetes-int-or-string": True}}}},
              "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
              "more": {"type": "object", "additionalProperties": {"type": "number", "multipleOf": 0.5}}}}}}
CUSTOM = {"apiVersion": "ex.io/v1", "kind": "Widget", "metadata": META,
          "spec": {"size": 3, "mode": "a", "parts": [{"name": "p", "n": 1}], "free": {"x": [1]}, "more": {"z": 1.5}}}
OBJECTS.append({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": "widgets.ex.io"},
                "spec": {"group": "ex.io", "scope": "Namespaced",
                         "names": {"plural": "widgets", "kind": "Widget", "listKind": "WidgetList", "singular": "widget"},
                         "versions": [{"name": "v1", "served": True, "storage": True,
                                       "schema": {"openAPIV3Schema": SCHEMA}}]}})


def documents():
    put("msgpack", msgpack({"a": [1, -5, 1 << 40, 1 << 63, 1.5, None, True], "b": {"c": "d" * 40}, "e": b"xyz"}))
    for o in OBJECTS[:3]:
        put("msgpack", msgpack(o))
    put("envelope", msgpack([1, 1, "store.get", "api", "store", 7, 1000, 1, 0, "", 256]))
    put("envelope", msgpack([1, 3, "a.b", "x", "y", 7, 0, 0, 404, "not here", 0]))
    one = lambda n, kind, flags, *docs: msgpack([1, kind, "a.b", "x", "y", n, 0, flags, 0, "", 0]) + b"".join(map(msgpack, docs))
    put("wire", one(7, 1, 3, {"k": "v"}), first=b"\0")
    put("wire", b"".join(msgpack(one(n, 2, 4, {"k": n}, [n], "doc")) for n in range(1, 4)), first=b"\0")
    put("wire", b"".join(msgpack(one(n, 5, 6, None, b"x" * 100)) for n in range(1, 4)), first=b"\0")
    put("wire", one(8, 4, 0) + msgpack(["attached"]), first=bytes([1 + len(one(8, 4, 0))]))
    message = msgpack([1000, "store", [1, 1, "store.get", "api", "store", 7, 1000, 1, 0, "", 256], {"k": "v"}, [msgpack({"a": 1})]])
    put("recording", message, msgpack([1001, "api", [1, 2, "store.get", "store", "api", 7, 0, 0, 0, "", 0], None, []]), first=b"\x01")
    fnv = lambda b: __import__("functools").reduce(lambda h, c: (h ^ c) * 16777619 & 0xFFFFFFFF, b, 2166136261)
    frame = lambda b: struct.pack("<II", len(b), fnv(b)) + b
    put("recording", frame(msgpack(["kogge recording", 1, 5])) + frame(message) + b"\0\0\0", first=b"\x00")
    put("envelope", msgpack([1, 9, "kernel", "plugin.list", 0, "", {}, [b"\x80"], False, 1000]))
    for o in OBJECTS:
        put("json", text(o))
        put("object", text(o))
        put("object", text(o), text(o))
    put("json", '{"a":1,"b":{"c":[1e3,-0.5,"\\u00fc\\ud83d\\ude00\\n"]},"a":[null,true],"b":2}')
    for path in glob.glob(ROOT + "/tests/e2e/data/**/*.yaml", recursive=True) + glob.glob(ROOT + "/deploy/**/*.yaml", recursive=True) + \
            glob.glob(ROOT + "/tests/sim/*.yaml"):
        with open(path, "rb") as f:
            body = f.read()
        put("yaml", body)
        if "kogge" in path or "sim" in path:
            put("config", body, "plugins.gateway.config.port=6443", "log.level=debug")
    put("config", "a: &x {b: 0x1f, c: 1e3, d: [~, 'y', \"z\"]}\ne: *x\n", "a.b=2", "a.d=1", "new.deep=x")


def changes():
    merge = {"metadata": {"labels": {"x": None, "n": "1"}}, "spec": {"containers": [{"name": "c", "image": "i:2"}]}}
    ops = [{"op": "test", "path": "/metadata/name", "value": "a"}, {"op": "add", "path": "/metadata/labels/n~1m", "value": "1"},
           {"op": "replace", "path": "/spec/containers/0/image", "value": "i"}, {"op": "copy", "from": "/spec", "path": "/x"},
           {"op": "move", "from": "/x", "path": "/y"}, {"op": "remove", "path": "/spec/volumes/0"},
           {"op": "add", "path": "/spec/volumes/-", "value": {"name": "w"}}]
    put("patch", text(POD), text(ops), first=b"\x00")
    put("patch", text(POD), text(merge), first=b"\x01")
    put("patch", text(POD), text(merge), first=b"\x02")
    put("patch", text(POD), text({"spec": {"$setElementOrder/containers": [{"name": "d"}, {"name": "c"}],
                                           "containers": [{"name": "d", "image": "j"}, {"$patch": "delete", "name": "c"}],
                                           "volumes": [{"$patch": "replace"}], "$retainKeys": ["containers"]},
                                  "metadata": {"$deleteFromPrimitiveList/finalizers": ["f"]}}), first=b"\x02")
    for o in OBJECTS:
        put("apply", text(o), text(o), text(o))
    managed = dict(POD, metadata=dict(META, managedFields=[{
        "manager": "one", "operation": "Apply", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:metadata": {"f:labels": {"f:x": {}}}, "f:spec": {"f:containers": {
            "k:{\"name\":\"c\"}": {".": {}, "f:image": {}, "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {}}}}}}}]))
    put("apply", text(managed), text(POD), text(dict(POD, spec={"containers": [{"name": "c", "image": "other"}]})))
    put("custom", text(SCHEMA), text(CUSTOM), text(dict(CUSTOM, spec={"size": 0, "zz": 1, "parts": [{"name": "p"}] * 2})))
    put("custom", text({"type": "object", "x-kubernetes-preserve-unknown-fields": True, "anyOf": [{"required": ["a"]}, {"not": {}}]}),
        text({"b": 1}))
    for q in ["100m", "1Gi", "0.5", "1e3", "-1.5Ki", "123456789012345678901234567890", "1E", "12.345678901n", "+5u", ".5T"]:
        put("values", q, first=b"\x00")
    for t in ["2026-11-23T10:00:00Z", "2026-11-23T10:00:00.123456+02:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z"]:
        put("values", t, first=b"\x01")
    for d in ["1h2m3.5s", "500ms", "-1.5us", "1ns", "9223372036854775807ns"]:
        put("values", d, first=b"\x02")
    for s in ["a=b,c in (d,e),!f,g notin (h),i,j!=k,l>5,m<6", "x", "a==b", "in in (in)", "a in ()"]:
        put("values", s, text({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["d"]}]}),
            first=b"\x03")
    for c in ["*/5 * * * *", "0-30/5 1,15 1-7 jan-mar mon#1", "@hourly", "@every 1h30m", "0 0 29 2 *", "59 23 31 12 7", "Europe/Berlin",
              "CET-1CEST,M3.5.0,M10.5.0/3", "<-03>3<-02>,M3.5.0/-2,M10.5.0/-1", "EST5EDT,0/0,J365/25", "../../etc/passwd"]:
        put("cron", c)


def frame2(kind, flags, stream, body=b""):
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body


def literal(name, value):  # HPACK without indexing
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def headers2(stream, method, path, more=b"", flags=5):
    return frame2(1, flags, stream, literal(b":method", method) + literal(b":scheme", b"https") + literal(b":path", path) +
                  literal(b":authority", b"x") + more)


def connections():
    pods = b"/api/v1/namespaces/a/pods"
    json_type = b"Content-Type: application/json\r\n"
    for r in [
        b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET " + pods + b"?limit=5&labelSelector=a%3Db&watch=1&timeoutSeconds=3 HTTP/1.1\r\nHost: x\r\nAccept: application/json;as=Table;v=v1;g=meta.k8s.io\r\n\r\n",
        b"POST " + pods + b"?dryRun=All&fieldManager=m HTTP/1.1\r\nHost: x\r\n" + json_type + b"Content-Length: 2\r\n\r\n{}",
        b"PUT " + pods + b"/p HTTP/1.1\r\nHost: x\r\n" + json_type + b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\n\r\n",
        b"PATCH " + pods + b"/p?force=true HTTP/1.1\r\nHost: x\r\nContent-Type: application/apply-patch+yaml\r\nContent-Length: 5\r\n\r\na: 1\n",
        b"DELETE " + pods + b"/p?propagationPolicy=Orphan HTTP/1.0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b"GET " + pods + b"/p/log?follow=true&tailLines=3 HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n",
        b"GET https://x/apis/apps/v1/watch/deployments?resourceVersion=0 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
        b"GET " + pods + b"/p/exec?command=sh&stdin=1&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n\x82\x83\x01\x02\x03\x04\x01jg",
        b"POST " + pods + b"/p/portforward HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: portforward.k8s.io\r\n\r\n"
        + b"\x80\x03\x00\x06\x00\x00\x00\x04\x00\x00\x00\x01",
        b"GET /api HTTP/1.1\r\nHost: x\r\nImpersonate-User: u\r\nImpersonate-Group: g\r\nImpersonate-Extra-s: v\r\n\r\n",
    ]:
        put("http1", r)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame2(4, 0, 0)
    put("http2", preface + headers2(1, b"GET", pods))
    put("http2", preface + headers2(1, b"POST", pods, literal(b"content-type", b"application/json"), 4) + frame2(0, 1, 1, b"{}") +
        frame2(3, 0, 1, b"\0\0\0\x08") + frame2(6, 0, 0, b"12345678") + frame2(8, 0, 0, b"\0\0\x10\0"))
    put("http2", preface + headers2(1, b"GET", b"/api/v1/pods?watch=1") + headers2(3, b"DELETE", pods + b"/p") +
        frame2(5, 4, 2, b"") + frame2(7, 0, 0, b"\0\0\0\0\0\0\0\0"))
    put("websocket", b"\x82\x85\x01\x02\x03\x04\x01jgok\x89\x80\0\0\0\0\x88\x82\0\0\0\0\x03\xe8")
    put("websocket", b"\x02\x81\0\0\0\0\x01\x80\x82\0\0\0\0ab\x81\xfe\x00\x7e\0\0\0\0" + b"y" * 126)
    z = zlib.compressobj(zdict=dictionary())
    block = struct.pack(">I", 2) + b"".join(struct.pack(">I", len(s)) + s for s in (b"streamtype", b"stdin", b"port", b"80"))
    body = struct.pack(">IIH", 1, 0, 0) + z.compress(block) + z.flush(zlib.Z_SYNC_FLUSH)
    syn = b"\x80\x03\x00\x01\x00" + struct.pack(">I", len(body))[1:] + body
    put("spdy", syn + struct.pack(">II", 1, 5) + b"hello" + b"\0\0\0\1\1\0\0\0" + b"\x80\x03\0\x06\0\0\0\x04\0\0\0\1" + b"\x80\x03\0\x03\0\0\0\x08\0\0\0\1\0\0\0\5")
    for claims in [{"sub": "system:serviceaccount:ns:robot", "exp": 4102444800, "kubernetes.io": {"pod": {"name": "p", "uid": "u"}}},
                   {"sub": "x", "nbf": 1e300}, {"sub": "system:serviceaccount::", "exp": "soon"}]:
        put("token", text(claims), first=b"\x00")
    put("token", "eyJhbGciOiJFUzI1NiJ9.e30.AAAA", first=b"\x01")
    der = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null",
                          "-subj", "/O=system:masters/O=devs/CN=carol", "-outform", "DER"], capture_output=True).stdout
    if der:
        put("token", der, first=b"\x02")
    name = b"\x03web\x01b\x03svc\x07cluster\x05local\0"
    for q in [(name, 1), (name, 28), (b"\x05_http\x04_tcp" + name, 33), (b"\x011\x010\x0296\x0210\x07in-addr\x04arpa\0", 12), (b"\x07example\x03com\0", 255)]:
        put("dns", struct.pack(">HHHHHH", 1, 0x100, 1, 0, 0, 1) + q[0] + struct.pack(">HH", q[1], 1) + b"\0\0\x29\x10\0\0\0\0\0\0\0", first=b"\x00")
    put("dns", struct.pack(">HHHHHH", 1, 0x8180, 1, 1, 0, 0) + b"\x07example\x03com\0\0\1\0\1" + b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\1\2\3\4", first=b"\x01")


def dictionary():
    source = open(os.path.join(ROOT, "plugins/gateway/spdy.c")).read()
    words = source.split("words[] = {", 1)[1].split("};", 1)[0]
    names = [w.encode() for w in words.split('"')[1::2]]
    tail = b"".join(t.encode() for t in source.split("tail[] =", 1)[1].split(";", 1)[0].split('"')[1::2])
    return b"".join(struct.pack(">I", len(n)) + n for n in names) + tail


def tar(entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as t:
        for name, kind, value in entries:
            i = tarfile.TarInfo(name)
            i.type = kind
            data = value if kind == tarfile.REGTYPE else b""
            i.size = len(data)
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                i.linkname = value
            t.addfile(i, io.BytesIO(data))
    return out.getvalue()


def images():
    import hashlib
    sha = lambda b: "sha256:" + hashlib.sha256(b).hexdigest()
    file, link, hard, folder = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE
    layer = tar([("etc", folder, None), ("etc/passwd", file, b"root:x:0:0::/root:/bin/sh\n"), ("bin/sh", link, "busybox"), ("x", hard, "etc/passwd"),
                 (".wh.gone", file, b""), ("etc/.wh..wh..opq", file, b"")])
    config = text({"os": "linux", "architecture": "amd64", "config": {"Env": ["A=b"], "Cmd": ["sh"], "User": "0:0"},
                   "rootfs": {"type": "layers", "diff_ids": [sha(layer)]}}).encode()
    manifest = text({"schemaVersion": 2, "config": {"digest": sha(config), "size": len(config)},
                     "layers": [{"digest": sha(layer), "size": len(layer)}]}).encode()
    index = text({"schemaVersion": 2, "manifests": [{"digest": sha(manifest), "platform": {"os": "linux", "architecture": "amd64"}}]})
    for n in ["busybox", "docker.io/library/a:1", "localhost:5000/a/b@" + sha(b""), "a:b:c", "[::1]:5000/x", "A/B"]:
        put("image", n, index, manifest, config, layer)
    put("image", "a", manifest, config, zlib.compress(layer, wbits=31))
    put("archive", layer, first=b"\x00")
    put("archive", tar([("../x", file, b"x"), ("a", link, "/etc"), ("a/passwd", file, b"no")]), first=b"\x00")
    docker = tar([("manifest.json", file, text([{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["l/layer.tar"]}]).encode()),
                  ("c.json", file, config), ("l/layer.tar", file, layer)])
    blob = lambda b: ("blobs/sha256/" + sha(b)[7:], file, b)
    oci = tar([("index.json", file, text({"manifests": [{"digest": sha(manifest)}]}).encode()), blob(manifest), blob(config), blob(layer)])
    put("archive", docker, first=b"\x01")
    put("archive", oci, first=b"\x01")


def facts():
    for n, line in enumerate(recorded("roundtrip.jsonl.gz")):
        put("protobuf", base64.b64decode(line["protobuf"]))
        if n % 2:
            put("object", text(line["json"]))
        if n % 8 == 1:
            put("msgpack", msgpack(line["json"]))
            put("apply", text(line["json"]), text(line["json"]))
    for line in recorded("answers.jsonl.gz")[::16]:
        put("object", text(line["body"]))
    for line in recorded("changes.jsonl.gz")[::16]:
        if isinstance(line.get("base"), dict):
            put("patch", text(line["base"]), text(line["act"]), first=b"\x01")


documents()
changes()
connections()
images()
facts()
if "protobuf" not in count:  # an empty object of a few kinds
    for version, kind in [("v1", "Pod"), ("apps/v1", "Deployment"), ("v1", "Binding")]:
        field = lambda n, b: bytes([n << 3 | 2, len(b)]) + b
        put("protobuf", b"k8s\0" + field(1, field(1, version.encode()) + field(2, kind.encode())) + field(2, field(1, field(1, b"a"))))
print(" ".join("%s:%d" % i for i in sorted(count.items())))
