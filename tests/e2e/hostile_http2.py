#!/usr/bin/env python3
"""HTTP/2 floods and slow clients against a running server: hostile_http2.py PORT TLS_DIR PID TIMEOUT floods|slow. Each must end as it
should within bounded memory while another client is served; TIMEOUT: the seconds a request may take to arrive (slow clients wait for it)."""
import re, socket, ssl, struct, sys, threading, time

PORT, TLS, PID, TIMEOUT, WHAT = int(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4]), sys.argv[5]
DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
CALM = 11
MAPS = "/api/v1/namespaces/default/configmaps"
failed = 0


def memory():
    return int(re.search(r"VmRSS:\s+(\d+)", open("/proc/%s/status" % PID).read())[1]) >> 10


def frame(kind, flags, stream, body=b""):
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body


def text(s):  # an HPACK string of any length, not Huffman coded
    n, out = len(s), b""
    if n < 127:
        return bytes([n]) + s
    n -= 127
    while n >= 128:
        out += bytes([n & 127 | 128])
        n >>= 7
    return bytes([127]) + out + bytes([n]) + s


def head(method, path, **more):
    pairs = [(":method", method), (":scheme", "https"), (":path", path), (":authority", "x")] + [(k.replace("_", "-"), v) for k, v in more.items()]
    return b"".join(b"\0" + text(k.encode()) + text(v.encode()) for k, v in pairs)


def tls(admin, alpn):
    c = ssl.create_default_context(cafile=TLS + "/ca.crt")
    c.check_hostname = False
    if admin:
        c.load_cert_chain(TLS + "/admin.crt", TLS + "/admin.key")
    c.set_alpn_protocols([alpn])
    return c.wrap_socket(socket.create_connection(("127.0.0.1", PORT), 15))


class Peer:
    """One connection and what came on it: the codes of the answers, resets and the code of GOAWAY (-1: none)."""

    def __init__(self, admin=True, first=b""):
        self.s, self.rest, self.goaway, self.resets, self.ended, self.answers, self.text, self.window = tls(admin, "h2"), b"", -1, {}, False, 0, b"", 4 << 20
        self.s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0) + first)

    def send(self, data):
        """False: the server has closed."""
        try:
            self.s.sendall(data)
            return True
        except OSError:
            return False

    def read(self, seconds, until=lambda p: False):
        end = time.time() + seconds
        while not self.ended and not until(self) and time.time() < end:
            self.s.settimeout(max(end - time.time(), 0.01))
            try:
                more = self.s.recv(1 << 16)
            except socket.timeout:
                break
            except OSError:
                more = b""
            self.ended = not more
            self.rest += more
            while len(self.rest) >= 9 and len(self.rest) >= 9 + (n := int.from_bytes(self.rest[:3], "big")):
                self.took(self.rest[3], int.from_bytes(self.rest[5:9], "big"), self.rest[9:9 + n])
                self.rest = self.rest[9 + n:]
        return self

    def took(self, kind, stream, body):
        if kind == HEADERS:
            self.answers += 1
        elif kind == DATA:
            self.text += body
        elif kind == RST:
            self.resets[stream] = int.from_bytes(body, "big")
        elif kind == GOAWAY and self.goaway < 0:
            self.goaway = int.from_bytes(body[4:8], "big")

    def codes(self):
        return [int(c) for c in re.findall(rb'"code":(\d+)', self.text)]


class Other(threading.Thread):
    """Somebody who asks for an empty list again and again meanwhile."""

    def run(self):
        self.slowest, self.count, self.bad, self.over = 0, 0, "", False
        s = tls(True, "http/1.1")
        s.settimeout(15)
        while not (self.over and self.count):
            since, got = time.time(), b""
            s.sendall(("GET %s?fieldSelector=metadata.name%%3Dnone HTTP/1.1\r\nHost: x\r\n\r\n" % MAPS).encode())
            while b"\r\n\r\n" not in got or len(got.split(b"\r\n\r\n", 1)[1]) < int(re.search(rb"(?i)content-length: (\d+)", got)[1]):
                more = s.recv(65536)
                if not more:
                    self.bad = "closed"
                    return
                got += more
            if not got.startswith(b"HTTP/1.1 200"):
                self.bad = got[:60].decode("latin1")
            self.slowest, self.count = max(self.slowest, time.time() - since), self.count + 1
            time.sleep(0.005)
        s.close()


def usual():
    """The slowest of some answers when there is no attack, in seconds: little, but on a machine that others keep busy."""
    other = Other()
    other.start()
    time.sleep(0.1)
    other.over = True
    other.join()
    return other.slowest


def attack(what, fn, most_mb=120):
    """fn returns a sentence about what came, and whether it is as it should be."""
    global failed
    slowest = 2 + 50 * usual()
    before, since, other = memory(), time.time(), Other()
    attack.peak = before
    other.start()
    said, good = fn()
    attack.peak = max(attack.peak, memory())
    other.over = True
    other.join()
    good = good and attack.peak - before <= most_mb and not other.bad and other.count > 0 and other.slowest < slowest
    failed += not good
    print("%s %-44s %-58s %4d MiB more, others: %4d answers, slowest %4d ms %s; %.1f s" % (
        "ok  " if good else "BAD ", what, said, attack.peak - before, other.count, other.slowest * 1000, other.bad, time.time() - since))


def rapid_reset():
    p, sent, request = Peer(), 0, head("GET", MAPS)
    while sent < 50000 and p.send(b"".join(frame(HEADERS, 5, i, request) + frame(RST, 0, i, b"\0\0\0\x08") for i in range(2 * sent + 1, 2 * sent + 201, 2))):
        sent += 100
        p.read(0.001)
        if p.goaway >= 0:
            break
    p.read(20)
    return "GOAWAY %d after at most %d resets" % (p.goaway, sent), p.goaway > 0 and sent < 10000 and p.ended


def frames_flood(one):
    def run():
        p, sent = Peer(), 0
        while sent < 50000 and p.send(one * 100):
            sent += 100
            p.read(0.001)
            if p.goaway >= 0:
                break
        p.read(20)
        return "GOAWAY %d after at most %d frames" % (p.goaway, sent), p.goaway == CALM and sent < 10000 and p.ended
    return run


def deaf_pings():
    """Sends without ever reading, until the server does not take more."""
    p, sent = Peer(), 0
    p.s.settimeout(3)
    while sent < 200000 and p.send(frame(PING, 0, 0, b"12345678") * 500):
        sent += 500
    p.read(20)
    return "GOAWAY %d, %d sent" % (p.goaway, sent), p.goaway == CALM and p.ended


def continuations():
    p, sent = Peer(), 0
    p.send(frame(HEADERS, 1, 1, head("GET", MAPS)))
    while sent < 10000 and p.send(frame(CONTINUATION, 0, 1, b"\0" + text(b"x%d" % sent) + text(b"y" * 1000))):
        sent += 1
    p.read(20)
    return "GOAWAY %d after at most %d frames" % (p.goaway, sent), p.goaway == CALM and p.ended


def huge_head():
    """4 KiB in the table, named 5,000 times: 20 MiB of headers in 15 KiB."""
    p = Peer()
    entry = b"\x40" + text(b"x") + text(b"y" * 3900)
    p.send(frame(HEADERS, 5, 1, head("GET", MAPS) + entry + b"\xbe" * 5000))
    p.read(20, lambda p: p.resets or p.codes() or p.goaway > 0)
    return "answered %s, resets %s, GOAWAY %d" % (p.codes(), p.resets, p.goaway), p.codes() == [431] or bool(p.resets) or p.goaway > 0


def bodies(admin, connections, streams=1000, each=3 << 20):
    """Every stream gets a piece of its body in turn, none its end."""
    def run():
        peers = [Peer(admin) for _ in range(connections)]
        for p in peers:
            p.send(b"".join(frame(HEADERS, 4, 2 * i + 1, head("POST", MAPS, content_type="application/json")) for i in range(streams)))
        sent, piece, since = 0, b" " * 16384, time.time()

        def over():  # a busy machine needs longer to send what is too much
            return time.time() - since > (1.5 if any(p.text for p in peers) else TIMEOUT - 2)
        for turn in range(each >> 14):
            for p in peers:
                # No more than the windows that the server gives back: 4 MiB a connection.
                for i in range(0, streams, 100):
                    if over() or not p.send(b"".join(frame(DATA, 0, 2 * j + 1, piece) for j in range(i, i + 100))):
                        break
                    sent += 100
                    p.read(0.001)
                attack.peak = max(attack.peak, memory())
            if over():
                break
        for p in peers:
            p.read(0.2)
        codes = [c for p in peers for c in p.codes()]
        for p in peers:
            p.s.close()
        return "%d MiB sent, %d times 429" % (sent >> 6, codes.count(429)), set(codes) == {429}
    return run


def nobodys_body():
    p = Peer(False)
    p.send(frame(HEADERS, 4, 1, head("POST", MAPS, authorization="Bearer nobody")))
    p.read(20, lambda p: p.resets)
    return "answered %s, then reset %s" % (p.codes(), p.resets), p.codes() == [401] and p.resets == {1: 0}


def slow_bodies():
    """Streams that do not end beside one that does, again and again."""
    p, since = Peer(), time.time()
    p.send(b"".join(frame(HEADERS, 4, 2 * i + 1, head("POST", MAPS)) + frame(DATA, 0, 2 * i + 1, b"{") for i in range(100)))
    n = 101
    while time.time() - since < TIMEOUT + 15 and p.codes().count(408) < 100:
        p.send(frame(HEADERS, 5, 2 * n + 1, head("GET", "/livez")))
        n += 1
        p.read(0.2)
    took = time.time() - since
    return "%d times 408 after %.1f s" % (p.codes().count(408), took), p.codes() == [408] * 100 and took >= TIMEOUT


def untaken(connections, streams=500):
    """Asks for what is large, and takes nothing of it."""
    def run():
        peers, path = [], "/openapi/v2"
        for _ in range(connections):
            p = Peer()  # one after the other: each has its time for the first request
            peers.append(p)
            p.send(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)))
            for i in range(0, streams, 50):
                p.send(b"".join(frame(HEADERS, 5, 2 * j + 1, head("GET", path)) for j in range(i, i + 50)))
                p.read(0.05)
                attack.peak = max(attack.peak, memory())
        for p in peers:
            p.read(20, lambda p: p.answers >= streams)
        attack.peak = max(attack.peak, memory())
        said = "%s answered, window 0" % [p.answers for p in peers]
        for p in peers:
            p.s.close()
        return said, all(p.answers == streams for p in peers)
    return run


def slow_loris():
    """200 connections of HTTP/1.1 and of HTTP/2 that send a byte of their head now and then."""
    part = frame(HEADERS, 1, 1, head("GET", "/livez")[:20])
    since, one, two = time.time(), [tls(False, "http/1.1") for _ in range(100)], [Peer(False) for _ in range(50)]
    two += [Peer(False, part) for _ in range(50)]  # comes with the preface: what the server writes next belongs to neither
    opened = time.time() - since
    for s in one:
        s.sendall(b"GET /livez HTTP/1.1\r\n")
    for p in two[:50]:
        p.send(part)
    since, closed = time.time(), set()
    while len(closed) < 200 and time.time() - since < TIMEOUT + 15:
        for i, s in enumerate(one + [p.s for p in two]):
            if i in closed:
                continue
            try:
                if i < 100:
                    s.sendall(b"X")
                s.settimeout(0.001)
                if not s.recv(4096):
                    closed.add(i)
            except socket.timeout:
                pass
            except OSError:
                closed.add(i)
        time.sleep(0.1)
    return "%d of 200 closed after %.1f s (opened in %.1f s)" % (len(closed), time.time() - since, opened), len(closed) == 200


if WHAT == "floods":
    attack("rapid reset", rapid_reset)
    attack("PING flood", frames_flood(frame(PING, 0, 0, b"12345678")))
    attack("PING flood that reads no answer", deaf_pings)
    attack("SETTINGS flood", frames_flood(frame(SETTINGS, 0, 0)))
    attack("CONTINUATION flood", continuations)
    attack("20 MiB of headers in one of 20 KiB", huge_head)
    attack("a body of nobody", nobodys_body)
    attack("bodies: 4 connections, 1,000 streams each", bodies(True, 4))
    attack("bodies of strangers: 4 connections", bodies(False, 4), most_mb=60)
    attack("answers not taken: 4 connections", untaken(4), most_mb=300)
else:
    attack("100 bodies that do not end", slow_bodies)
    attack("200 slow heads", slow_loris)
print("%d failed; resident: %d MiB" % (failed, memory()))
sys.exit(failed > 0)
