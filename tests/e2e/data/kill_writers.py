#!/usr/bin/env python3
"""64 writers and a watch over HTTPS against a server that is killed with -9 again and again.

  kill_writers.py --port P --tls DIR --rounds N [--writers N] --kill COMMAND --start COMMAND

Checks: every acknowledged write is told by the watch with the revision of its answer and shows in the end; revisions rise; the
watch, resumed at the last revision it saw, has neither gap nor repeat. Prints the counts; exits 1 at a fault."""
import argparse, http.client, json, os, random, ssl, subprocess, sys, threading, time

a = argparse.ArgumentParser()
for name, kind, default in (("port", int, None), ("tls", str, None), ("rounds", int, 5), ("writers", int, 64), ("kill", str, None), ("start", str, None)):
    a.add_argument("--" + name, type=kind, default=default)
o = a.parse_args()
PATH = "/api/v1/namespaces/default/configmaps"
tls = ssl.create_default_context(cafile=o.tls + "/ca.crt")
tls.load_cert_chain(o.tls + "/admin.crt", o.tls + "/admin.key")
stop = threading.Event()
faults = []


def fault(text):
    faults.append(text)


def connect(timeout=10):
    return http.client.HTTPSConnection("127.0.0.1", o.port, context=tls, timeout=timeout)


def call(c, method, path, body=None):
    c.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
    r = c.getresponse()
    return r.status, json.loads(r.read())


class Writer(threading.Thread):
    """Creates, replaces and deletes objects of its own."""

    def __init__(self, n):
        super().__init__(daemon=True)
        self.n, self.acknowledged, self.unknown, self.mine = n, [], 0, {}

    def step(self, c, i):
        name, dice = "w%d-%d" % (self.n, i), random.random()
        old = random.choice(list(self.mine)) if self.mine and dice > 0.5 else None
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": old or name}, "data": {"v": "%d" % i, "pad": "x" * 500}}
        kind = "ADDED"
        try:
            if not old:
                status, answer = call(c, "POST", PATH, body)
            elif dice > 0.9:
                kind, known = "DELETED", self.mine.pop(old)
                status, answer = call(c, "DELETE", PATH + "/" + old)
            else:
                kind, body["metadata"]["resourceVersion"] = "MODIFIED", self.mine.pop(old)
                status, answer = call(c, "PUT", PATH + "/" + old, body)
        except (OSError, http.client.HTTPException, ValueError):
            self.unknown += 1
            return False
        if status >= 500:
            self.unknown += 1  # may have been done
        elif status in (200, 201) and kind != "DELETED":
            rv = int(answer["metadata"]["resourceVersion"])
            self.mine[old or name] = str(rv)
            self.acknowledged.append((kind, old or name, rv, body["data"]["v"]))
        elif status == 200:
            self.acknowledged.append((kind, old, None, None))
        else:
            fault("%s %s: %d %s" % (kind, old or name, status, answer.get("message")))
        return True

    def run(self):
        c, i = connect(), 0
        while not stop.is_set():
            i += 1
            if not self.step(c, i):
                c.close()
                c = connect()
                time.sleep(0.03)


class Watch(threading.Thread):
    def __init__(self, rv):
        super().__init__(daemon=True)
        self.rv, self.told, self.resumed, self.gone = rv, [], 0, 0

    def follow(self):
        c = connect(3600)
        c.request("GET", PATH + "?watch=1&allowWatchBookmarks=true&resourceVersion=%d" % self.rv)
        r = c.getresponse()
        while True:
            line = r.readline()
            if not line.endswith(b"\n"):
                return
            e = json.loads(line)
            if e["type"] == "ERROR":
                self.gone += 1
                return fault("the watch could not be resumed at %d: %s" % (self.rv, e["object"].get("message")))
            meta = e["object"]["metadata"]
            self.rv = int(meta["resourceVersion"])
            if e["type"] != "BOOKMARK" and meta["name"][0] == "w":
                self.told.append((e["type"], meta["name"], self.rv, e["object"]["data"]["v"]))

    def run(self):
        while self.gone < 3:
            try:
                self.follow()
            except (OSError, http.client.HTTPException, ValueError):
                pass
            self.resumed += 1
            time.sleep(0.02)


def check(writers, watch, left):
    by_rv = {}
    for i, (kind, name, rv, v) in enumerate(watch.told):
        if i and rv <= watch.told[i - 1][2]:
            fault("the watch told revision %d after %d" % (rv, watch.told[i - 1][2]))
        by_rv[rv] = (kind, name, rv, v)
    deleted = {name for kind, name, _, _ in watch.told if kind == "DELETED"}
    for w in writers:
        last = 0
        for x in w.acknowledged:
            kind, name, rv, _ = x
            if kind == "DELETED":
                if name not in deleted:
                    fault("the acknowledged deletion of %s was not told" % name)
                continue
            if by_rv.get(rv) != x:
                fault("lost: %s was acknowledged, the watch told %s" % (x, by_rv.get(rv)))
            if rv <= last:
                fault("revision %d was given to %s after %d" % (rv, name, last))
            last = rv
    state = {}
    for kind, name, rv, v in watch.told:
        if kind == "DELETED":
            state.pop(name, None)
        elif kind == "ADDED" and name in state:
            fault("%s was added twice" % name)
        else:
            state[name] = (rv, v)
    there = {x["metadata"]["name"]: (int(x["metadata"]["resourceVersion"]), x["data"]["v"]) for x in left if x["metadata"]["name"][0] == "w"}
    if state != there:
        fault("what the watch told is not what is there: %s" % sorted(set(state.items()) ^ set(there.items()))[:3])


def main():
    _, listed = call(connect(), "GET", PATH)
    watch = Watch(int(listed["metadata"]["resourceVersion"]))
    writers = [Writer(n) for n in range(o.writers)]
    for t in [watch] + writers:
        t.start()
    for _ in range(o.rounds):
        time.sleep(random.uniform(0.2, 0.6))
        subprocess.run(o.kill, shell=True)
        if subprocess.run(o.start, shell=True).returncode:
            print("the server does not start again", flush=True)
            os._exit(1)
    time.sleep(0.5)
    stop.set()
    for w in writers:
        w.join()
    _, listed = call(connect(), "GET", PATH)
    end = time.time() + 5
    while watch.rv < int(listed["metadata"]["resourceVersion"]) and watch.told and watch.told[-1][2] < max(int(x["metadata"]["resourceVersion"]) for x in listed["items"]) and time.time() < end:
        time.sleep(0.05)
    time.sleep(0.3)
    check(writers, watch, listed["items"])
    print("%d kills under %d writers: %d writes acknowledged, %d without an answer; %d changes told, the watch resumed %d times; %s" % (
        o.rounds, o.writers, sum(len(w.acknowledged) for w in writers), sum(w.unknown for w in writers), len(watch.told), watch.resumed,
        "%d FAULTS: %s" % (len(faults), "; ".join(faults[:3])) if faults else "nothing lost, no revision back, no gap, no repeat"))
    return 1 if faults else 0


sys.exit(main())
