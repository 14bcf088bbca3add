#!/usr/bin/env python3
"""A registry on loopback that means harm: the name of a repository says how. With a file of a certificate and
its key as argument it speaks TLS. Prints its port, then serves until its input ends."""
import base64, functools, gzip, hashlib, http.server, io, json, os, ssl, sys, tarfile, threading, time, zlib

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
ZEROS = bytes(1 << 20)


def digest(b):
    return "sha256:" + hashlib.sha256(b).hexdigest()


def tar(add):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as t:
        add(t)
    return out.getvalue()


def entry(name, kind=tarfile.REGTYPE, link="", size=0):
    e = tarfile.TarInfo(name)
    e.type, e.linkname, e.size, e.mode = kind, link, size, 0o755
    return e


def deep(t):
    """Directories far deeper than a path may be long: by way of links that lead down."""
    part = "/".join(["d" * 100] * 30)
    t.addfile(entry(part, tarfile.DIRTYPE))
    t.addfile(entry("l0", tarfile.SYMTYPE, part))
    for i in range(3):
        t.addfile(entry("l%d/%s" % (i, part), tarfile.DIRTYPE))
        t.addfile(entry("l%d" % (i + 1), tarfile.SYMTYPE, "l%d/%s" % (i, part)))
    t.addfile(entry("../out"))


LAYERS = {
    "climbs": lambda t: t.addfile(entry("../../../../tmp/kogge-was-here")),
    "linked": lambda t: (t.addfile(entry("out", tarfile.SYMTYPE, "/nowhere")), t.addfile(entry("out/kogge-was-here"))),
    "hardlink": lambda t: t.addfile(entry("evil", tarfile.LNKTYPE, "/../../../../etc/passwd")),
    "outside": lambda t: t.addfile(entry("evil", tarfile.LNKTYPE, "/etc/passwd")),
    "device": lambda t: t.addfile(entry("evil", tarfile.CHRTYPE)),
    "deep": deep,
    "trickles": lambda t: t.addfile(entry("noise", size=1 << 20), io.BytesIO(os.urandom(1 << 20))),
    "big": lambda t: t.addfile(entry("zeros", size=60 << 20), io.BytesIO(ZEROS * 60)),
}


@functools.cache
def bomb():
    """A gzip of zeros: 600 MiB from 600 KiB. Its pieces are one, compressed once; nobody comes as far as its sums."""
    c, pieces = zlib.compressobj(9, zlib.DEFLATED, 31), []
    for piece in [tar(lambda t: None), ZEROS]:
        pieces.append(c.compress(piece) + c.flush(zlib.Z_FULL_FLUSH))
    return digest(b"never looked at"), pieces[0] + pieces[1] * 600 + c.flush()


@functools.cache
def image(how):
    """{digest: bytes}, manifest."""
    if how == "bomb":
        diff, packed = bomb()
    else:
        plain = tar(LAYERS.get(how, lambda t: t.addfile(entry("file"))))
        diff, packed = digest(plain), gzip.compress(plain, 1, mtime=0)
    if how == "falsediff":
        diff = digest(b"other")
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff]}}).encode()
    if how == "notconfig":
        config = b"[" * 100000
    layer = {"mediaType": LAYER, "digest": digest(packed), "size": len(packed)}
    of = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(config), "size": len(config)}
    m = {"schemaVersion": 2, "mediaType": MANIFEST, "config": of, "layers": [layer]}
    layer.update({"larger": {"size": 10}, "hugelayer": {"size": 1 << 60}, "nosize": {"size": None}, "negative": {"size": -1},
                  "chart": {"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip"},
                  "sha0": {"digest": "sha256:../../../../etc/passwd"}}.get(how, {}))
    if how == "hugeconfig":
        of["size"] = 1 << 30
    if how == "both":
        m["manifests"] = []
    if how == "twolayers":
        m["layers"] = [layer, layer]
    if how == "schema1":
        m["mediaType"] = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    blobs = {digest(packed): packed, of["digest"]: config}
    if how in ("nested", "falseindex"):
        own = json.dumps({"schemaVersion": 2, "manifests": []} if how == "nested" else m).encode()
        name = digest(own) if how == "nested" else digest(b"other")
        blobs["manifest"] = own
        m = {"schemaVersion": 2, "mediaType": INDEX,
             "manifests": [{"mediaType": INDEX, "digest": name, "size": 1, "platform": {"os": "linux", "architecture": "amd64"}}]}
    return blobs, json.dumps(m).encode()


class Registry(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *a):
        pass

    def answer(self, body, code=200, kind=MANIFEST, length=None, more={}):
        self.send_response(code)
        for k, v in dict({"Content-Type": kind, "Content-Length": len(body) if length is None else length}, **more).items():
            self.send_header(k, str(v))
        self.end_headers()
        self.wfile.write(body)

    def endless(self, code=200, more={}, piece=b" " * 65536):
        """Until the other side has enough; 2 GiB are none too few to see that it never has."""
        self.send_response(code)
        for k, v in more.items():
            self.send_header(k, v)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for _ in range((2 << 30) // len(piece)):
            self.wfile.write(piece)

    def stall(self):
        time.sleep(20)
        self.close_connection = True

    def trickle(self, body):
        """Steady, but slow."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for i in range(0, len(body), 400):
            self.wfile.write(body[i:i + 400])
            time.sleep(0.1)

    def do_GET(self):
        try:
            self.serve()
        except OSError:
            self.close_connection = True

    def challenge(self, how):
        self.answer(b"", 401, more={"WWW-Authenticate": 'Bearer realm="http://%s/token/%s",service="s"' % (self.headers["Host"], how)})

    def token(self, how):
        if how == "tokenendless":
            return self.endless(piece=b" " * 65536)
        if how == "tokenloop":
            return self.answer(b"", 302, more={"Location": self.path})
        text = {"tokenrubbish": b"<html>", "tokeninjects": json.dumps({"token": "x\r\nHost: evil"}).encode()}
        self.answer(text.get(how, b"{}"), 500 if how == "tokenfails" else 200, "application/json")

    def manifest(self, how, reference, text, blobs):
        at = {"endless": lambda: self.endless(), "endless404": lambda: self.endless(404), "endless401": lambda: self.endless(401),
              "loop": lambda: self.answer(b"", 302, more={"Location": self.path}),
              "endlessloop": lambda: self.endless(302, {"Location": self.path}),
              "tofile": lambda: self.answer(b"", 302, more={"Location": "file:///etc/passwd"}),
              "heads": lambda: self.endless(more={"X-%d" % i: "x" * 8000 for i in range(60)}),
              "stalls": self.stall, "rubbish": lambda: self.answer(b"\0\1", kind="text/html"),
              "notjson": lambda: self.answer(b"{"), "html": lambda: self.answer(b"{}", kind="text/html; charset=utf-8"),
              "cut": lambda: (self.answer(text[:20], length=len(text)), setattr(self, "close_connection", True))}
        if how in at:
            return at[how]()
        if how.startswith("token"):
            return self.challenge(how)
        if how == "locked" and self.headers["Authorization"] != "Basic " + base64.b64encode(b"ann:secret").decode():
            return self.answer(b"", 401, more={"WWW-Authenticate": "Basic realm=x"})
        self.answer(blobs.get("manifest", text) if reference.startswith("sha256:") else text, kind="")

    def blob(self, how, name, blobs):
        is_layer = name == list(blobs)[0]
        if is_layer:
            print("layer of", how, flush=True)
        at = {"layerendless": self.endless, "layer404": lambda: self.endless(404), "layerstalls": self.stall,
              "layerloop": lambda: self.answer(b"", 307, more={"Location": self.path}),
              "trickles": lambda: self.trickle(blobs[name]),
              "wrong": lambda: self.answer(b"x" * len(blobs[name]))}
        if how in at and is_layer:
            return at[how]()
        if how == "endlessconfig" and not is_layer:
            return self.endless()
        self.answer(blobs[name], kind="application/octet-stream")

    def serve(self):
        parts = self.path.split("?")[0].split("/")
        if parts[1] == "token":
            return self.token(parts[2])
        how, what, name = parts[3], parts[4], parts[5]
        blobs, text = image(how)
        self.manifest(how, name, text, blobs) if what == "manifests" else self.blob(how, name, blobs)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
server.daemon_threads = True
if len(sys.argv) > 1:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(sys.argv[1])
    server.socket = tls.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
os._exit(0)
