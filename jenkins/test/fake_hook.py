#!/usr/bin/env python3
"""A hook server that plays scripted promotions, for the tests of the Jenkins library.

It answers as docs/hook-api.md says. Time does not pass by itself: a long poll moves the promotion one stage on,
so that a run takes milliseconds and is the same every time. Where a real server would have waited, it says how
long in X-Fake-Waited, and the test's clock goes on by that.

POST /fake/reset {"scenario", "cut", "keep", "stale", "deaf", "late", "refusal", "unanswered", "every", "tokenSeconds", "slow"} starts afresh; "late"
promotes when an abort comes; with "every" each stage lasts so many seconds of the test's clock, which comes in X-Fake-Now; with "tokenSeconds"
only tokens that /fake/token gave out count, for that time; with "slow" each look takes so many real seconds; with "deadline" a
promotion has failed when its deadlineSeconds of the test's clock are over. POST /fake/end moves every promotion to its end, as time does while nobody asks, and
/fake/forget {"result", "exitCode"} makes the server forget them. /fake/journal tells what was asked. /stolen is what a redirect leads to.
A request with the header X-Fake-Fault is disturbed in the way that it names; so is request n by "faults": {"n": …}.
"""
import hashlib
import json
import re
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

TOKEN = "s3cret-token-of-the-tests"
LOGIN = b"<!DOCTYPE html><html><body>Please sign in</body></html>"
PASS = {"name": "request-success-rate", "outcome": "Pass", "value": 99.8, "bound": "≥ 99 %", "at": "2026-01-01T10:00:00Z"}
BAD = dict(PASS, outcome="Bad", value=91.25)


def stage(phase, message, log, **more):
    """One state: what the document says, and what the log gains."""
    return dict(phase=phase, message=message, log=log, **more)


BEGIN = [
    stage("Pending", "waits to begin", ""),
    stage("Running", "step 1 of 3: weight 10 %", "step 1 of 3: weight 10 % → 90 % stay\n", weight=10),
    stage("Running", "step 2 of 3: weight 30 %", "request-success-rate 99.8 (≥ 99 %) ✓\nstep 2 of 3: weight 30 % 😀\n", weight=30),
]
GATE = "confirm-promotion"
AT_THE_GATE = stage("Running", "waits for an approval", "waits at confirm-promotion\n", weight=50, held="AwaitingApproval", gates={GATE: "Waiting"})
SCENARIOS = {
    "promoted": BEGIN + [
        stage("Running", "step 3 of 3: weight 50 %", "step 3 of 3: weight 50 %\n", weight=50),
        stage("Promoted", "the primary has it", "promoted: größer als zuvor 🚀\n", weight=0),
    ],
    "rolledback": BEGIN + [stage("RolledBack", "the canary was judged bad", "rolled back: request-success-rate 91.25 (≥ 99 %)\n", checks=[BAD])],
    "failed": BEGIN[:1] + [stage("Failed", "the image cannot be pulled", "cannot pull the image\n")],
    "superseded": BEGIN + [stage("Superseded", "a newer one took its place", "superseded by p-2\n")],
    "aborted": BEGIN + [stage("Aborted", "called off by mia", "called off by mia\n")],
    "unknown": BEGIN + [stage("Vanished", "a result of the future", "vanished\n")],
    "never": BEGIN,
    "held": BEGIN + [AT_THE_GATE],
    "held-before": BEGIN[:1] + [stage("Running", "waits for a job", "waits at smoke\n", held="AwaitingJob", gates={"smoke": "Running"})] + BEGIN[1:]
    + [stage("Running", "no data", "no data\n", weight=30, held="NoData", gates={"smoke": "Open"}), dict(AT_THE_GATE, gates={"smoke": "Open", GATE: "Waiting"})],
    "held-elsewhere": BEGIN + [stage("Running", "somebody paused it", "paused\n", held="Paused")],
    "opened": BEGIN + [stage("Running", "opened by mia", "opened by mia\n", gates={GATE: "Open"}), stage("Promoted", "the primary has it", "promoted\n", gates={GATE: "Open"})],
    "opened-bad": BEGIN + [stage("RolledBack", "the canary was judged bad", "rolled back\n", gates={GATE: "Open"})],
    "rejected": BEGIN + [stage("Running", "rejected by mia", "rejected by mia\n", gates={GATE: "Rejected"}), stage("RolledBack", "the gate was rejected", "rolled back\n")],
    "notail": BEGIN + [stage("Promoted", "the primary has it", "promoted, and no end of line")],
}
SCENARIOS["busy"] = BEGIN[:1] + [
    stage("Running", f"step {n} of 44: weight {n} %", f"10:{n:02}:00 Running step {n} of 44: weight {n} %\n", weight=n) for n in range(1, 45)
] + [stage("Promoted", "the primary has it", "10:45:00 Promoted\n")]
SCENARIOS["evil"] = BEGIN[:1] + [
    stage("RolledBack", "bad\u001b[2J\r\u202e::error::x", "plain\n::error::forged\n\u001b]0;title\u0007\u009b31m \u202e \u2067 \rover\n", checks=[dict(BAD, name="a\u001b[31m")])]
SCENARIOS["evil-gate"] = BEGIN[:1] + [stage("Running", "waits", "", held="Pau\u001b[2Jsed", gates={})]
AFTER_ABORT = [stage("Running", "returning traffic", "returning traffic → primary\n"), stage("Aborted", "called off", "called off\n")]
AFTER_APPROVE = [stage("Promoted", "the primary has it", "approved\n")]
PAST_DEADLINE = [stage("Failed", "the deadline is over", "the deadline is over\n")]
AFTER_REJECT = [stage("RolledBack", "the gate was rejected", "rejected\n")]


class Promotion:
    """One promotion and how far it is."""

    def __init__(self, name, canary, body, stages, options):
        self.name, self.canary, self.body, self.stages, self.options = name, canary, body, list(stages), options
        self.at, self.asked, self.begun, self.until = 0, 0, None, None

    def elapse(self, now, patience):
        """What the time has brought by now, or brings within `patience` seconds; how long that took."""
        if self.begun is None:
            self.begun = now
        every = self.options["every"] * 1000
        self.at = min(len(self.stages) - 1, (now - self.begun) // every)
        rest = max(0, self.begun + (self.at + 1) * every - now) / 1000
        if patience and rest <= patience and self.advance():
            return rest
        return patience

    def finished(self, at=None):
        return self.stages[self.at if at is None else at]["phase"] not in ("Pending", "Queued", "Running")

    def advance(self):
        """Moves one stage on; whether there was one."""
        if self.at + 1 < len(self.stages):
            self.at += 1
            return True
        return False

    def turn(self, stages):
        if not self.finished():
            if self.options.get("deaf"):
                return 202
            self.stages = self.stages[: self.at + 1] + stages
            return 202
        return 200

    def log(self, at=None):
        """What is written of the log: before the end, `cut` bytes are still missing, wherever that cuts."""
        at = self.at if at is None else at
        whole = "".join(s["log"] for s in self.stages[: at + 1]).encode()
        cut = 0 if self.finished(at) else self.options.get("cut", 0)
        return whole[: max(0, len(whole) - cut)]

    def document(self, at):
        now = self.stages[at]
        over = self.finished(at)
        self_link = f"/v1/namespaces/shop/promotions/{self.name}"
        return {
            "id": self.name, "namespace": "shop", "canary": self.canary, "seq": at + 1, "phase": now["phase"], "finished": over,
            "result": now["phase"] if over else None,
            "exitCode": {"Promoted": 0, "RolledBack": 3, "Aborted": 5, "Superseded": 6, "Failed": 8}.get(now["phase"]) if over else None,
            "reason": None, "message": now["message"], "revision": "03cb9eb50e56", "weight": now.get("weight", 0), "step": None, "steps": 3,
            "held": now.get("held"), "gates": [{"name": name, "at": name, "state": state, "by": None} for name, state in now.get("gates", {}).items()],
            "checks": now.get("checks", [PASS]), "approvals": [], "images": {}, "requester": self.body.get("requester"),
            "createdAt": "2026-01-01T09:58:00Z", "startedAt": None, "finishedAt": None, "logBytes": len(self.log(at)),
            "links": {"self": self_link, "log": self_link + "/log", "abort": self_link + "/abort"}, "fieldOfTheFuture": [1, {"a": None}],
        }


class World:
    """Everything that a test may reset."""

    def __init__(self):
        self.reset({})

    def reset(self, options):
        self.options, self.promotions, self.keys, self.orders = options, {}, {}, {}
        self.requests, self.created, self.aborts, self.gates, self.bodies = [], 0, [], [], []
        self.forgotten, self.stolen, self.tokens, self.denied = None, [], {}, 0


WORLD = World()
LOCK = threading.RLock()


class HookApi(BaseHTTPRequestHandler):
    """The calls of docs/hook-api.md, in the namespace shop."""

    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, *_):
        pass

    def answer(self, status, body, kind="application/json; charset=utf-8", **headers):
        data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        fault = self.fault()
        if fault == "lost":
            # It was done, and nobody hears of it.
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if fault == "cut" and status < 300 and kind.startswith("application/json"):
            data = data[: len(data) // 2]
        head = [f"HTTP/1.1 {status} -", f"content-type: {kind}", f"content-length: {len(data)}"]
        head += [f"{name.replace('_', '-').lower()}: {value}" for name, value in headers.items()]
        self.wfile.write("\r\n".join(head).encode() + b"\r\n\r\n" + data)

    def problem(self, status, code, detail, **headers):
        body = {"type": "about:blank", "title": code, "status": status, "detail": detail, "code": code}
        if code == "conflict":
            body["other"] = "p-other"
        self.answer(status, body, "application/problem+json", **headers)

    def fault(self):
        planned = WORLD.options.get("faults", {}) if not self.path.startswith("/fake/") else {}
        return self.headers.get("X-Fake-Fault") or planned.get(str(len(WORLD.requests)))

    def disturbed(self):
        """Whether a fault has answered in the API's place."""
        fault = self.fault()
        if fault == "500":
            self.answer(500, b"oops", "text/plain")
        elif fault == "502":
            self.answer(502, LOGIN, "text/html")
        elif fault == "503":
            self.problem(503, "unavailable", "the API server cannot be reached", Retry_After=3)
        elif fault == "429":
            self.problem(429, "too_many_requests", "too many clients wait", Retry_After=7)
        elif fault == "login":
            self.answer(302, b"", "text/html", Location="/login")
        elif fault == "page":
            self.answer(200, LOGIN, "text/html")
        elif fault == "otherjson":
            self.answer(200, {"login": "required"})
        elif fault in ("401", "403"):
            self.problem(int(fault), "unauthenticated" if fault == "401" else "forbidden", "its signature is wrong")
        elif fault == "away":
            self.answer(302, b"", "text/html", Location=f"http://localhost:{self.server.server_address[1]}/stolen")
        elif fault == "evil":
            self.problem(503, "unavailable", "\u001b[2J\r\u202e::error::x\n::warning::y")
        elif fault == "evil-refusal":
            self.problem(409, "conflict", "\u001b[2J\r\u202e::error::x\n::warning::y")
        elif fault == "gone":
            self.answer(404, LOGIN, "text/html")
        else:
            return False
        return True

    def do_GET(self):
        self.route("GET", {})

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.route("POST", json.loads(raw or b"{}"))

    def route(self, verb, body):
        url = urlsplit(self.path)
        parts = url.path.strip("/").split("/")
        with LOCK:
            if parts[0] == "fake":
                return self.fake(parts[1], body)
            if parts[0] == "login":
                return self.answer(200, LOGIN, "text/html")
            if self.headers.get("Authorization") and parts[0] != "stolen":
                WORLD.requests.append(verb + " " + self.path)
            if self.disturbed():
                return None
            if parts[0] == "stolen":
                WORLD.stolen.append(self.headers.get("Authorization"))
                return self.answer(200, LOGIN, "text/html")
            if not self.known():
                WORLD.denied += 1
                return self.problem(401, "unauthenticated", "nobody is known by this token")
            if parts[:2] != ["v1", "namespaces"] or len(parts) < 5:
                return self.problem(404, "not_found", "no such path")
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            if parts[3] == "canaries":
                return self.canary(verb, parts[4:], body)
            if parts[3] == "approvals":
                return self.order(parts[4], int(query.get("waitSeconds", 0)))
            return self.promotion(verb, parts[4:], query, body)

    def known(self):
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if "tokenSeconds" not in WORLD.options:
            return token == TOKEN
        return time.monotonic() - WORLD.tokens.get(token, -1e9) < WORLD.options["tokenSeconds"]

    def mint(self):
        """As GitHub's runner gives out an identity token."""
        if self.headers.get("Authorization") not in (None, "Bearer of-the-runner"):
            return self.answer(401, {})
        token = f"minted-{len(WORLD.tokens)}-s3cret"
        WORLD.tokens[token] = time.monotonic()
        return self.answer(200, {"count": 1, "value": token})

    def fake(self, what, body):
        if what.startswith("token"):
            return self.mint()
        if what == "reset":
            WORLD.reset(body)
        if what == "forget":
            WORLD.forgotten = {"finishedAt": "2026-01-01T10:30:00Z", **body}
        if what == "end":
            for it in WORLD.promotions.values():
                it.at = len(it.stages) - 1
        self.answer(200, {"requests": WORLD.requests, "created": WORLD.created, "aborts": WORLD.aborts, "gates": WORLD.gates,
                          "bodies": WORLD.bodies, "stolen": WORLD.stolen, "minted": len(WORLD.tokens), "denied": WORLD.denied, "ids": sorted(WORLD.promotions),
                          "bodyOf": {name: it.body for name, it in WORLD.promotions.items()},
                          "log": "".join(p.log().decode(errors="replace") for p in WORLD.promotions.values())})

    def canary(self, verb, parts, body):
        scenario = WORLD.options.get("scenario") or ("rolledback" if ":bad" in str(body.get("image")) else "promoted")
        if scenario == "nocanary":
            return self.problem(404, "not_found", 'no Canary "web" in \\ namespace "shop"')
        if verb == "GET":
            return self.answer(200, {"name": parts[0], "namespace": "shop", "phase": "Succeeded"})
        if scenario == "conflict":
            return self.problem(409, "conflict", "another promotion is not over")
        if scenario == "frozen":
            return self.problem(423, "frozen", "a freeze is in force until Monday")
        key = self.headers.get("Idempotency-Key")
        if not key or not re.fullmatch("[!-~]{1,200}", key):
            return self.problem(400, "bad_request", "header Idempotency-Key: must have 1 to 200 visible characters")
        WORLD.bodies.append(body)
        if WORLD.forgotten and key in WORLD.keys:
            return self.gone(WORLD.keys[key].name)
        known = WORLD.keys.get(key)
        if known:
            if {**known.body, "requester": None} != {**body, "requester": None}:
                return self.problem(422, "key_reused", "the same key with another body")
            return self.answer(200, known.document(known.at))
        name = "p-" + hashlib.sha256(key.encode()).hexdigest()[:16]
        made = Promotion(name, parts[0], body, SCENARIOS[scenario], WORLD.options)
        WORLD.keys[key] = WORLD.promotions[name] = made
        WORLD.created += 1
        if "every" in WORLD.options:
            made.elapse(int(self.headers.get("X-Fake-Now")), 0)
        if "deadline" in WORLD.options:
            made.until = int(self.headers.get("X-Fake-Now")) + body["policy"]["deadlineSeconds"] * 1000
        return self.answer(201, made.document(0), Location=f"/v1/namespaces/shop/promotions/{name}")

    def gone(self, name):
        body = {"type": "about:blank", "title": "expired", "status": 410, "code": "expired", "detail": f"promotion {name} is kept no more", **WORLD.forgotten}
        self.answer(410, body, "application/problem+json")

    def promotion(self, verb, parts, query, body):
        if WORLD.forgotten and parts[0] in WORLD.promotions:
            return self.gone(parts[0])
        it = WORLD.promotions.get(parts[0])
        if it is None:
            return self.problem(404, "not_found", "no such promotion")
        if it.until and int(self.headers.get("X-Fake-Now")) > it.until and not it.finished():
            it.stages = it.stages[: it.at + 1] + PAST_DEADLINE
            it.advance()
        what = parts[1] if len(parts) > 1 else ""
        words = body.get("comment") or body.get("reason") or ""
        if len(words) > 1000 or any("\ud800" <= sign <= "\udfff" for sign in words):
            return self.problem(400, "bad_request", "comment or reason: must have 0 to 1000 characters")
        if verb == "GET" and what == "":
            return self.state(it, int(query.get("waitSeconds", 0)), int(query.get("afterSeq", 0)))
        if verb == "GET" and what == "log":
            return self.text(it, int(query.get("start", 0)))
        if verb == "GET" and what == "result":
            code = {"Promoted": 200, "Aborted": 410, "Superseded": 410}.get(it.stages[it.at]["phase"], 409) if it.finished() else 202
            return self.answer(code, it.document(it.at))
        if what == "abort":
            WORLD.aborts.append(body)
            return self.answer(it.turn(AFTER_APPROVE if it.options.get("late") else AFTER_ABORT), it.document(it.at))
        if what in ("approve", "reject"):
            return self.settle(it, what, body)
        return self.problem(405, "method_not_allowed", "no such call")

    def settle(self, it, what, body):
        if it.finished():
            return self.answer(200, {"command": None, "promotion": it.document(it.at), "links": {"order": None}})
        # Without a key every call is another order.
        key = self.headers.get("Idempotency-Key") or f"order {len(WORLD.orders)}"
        name = "a-" + hashlib.sha256(f"{it.name} {what} {body.get('gate')} {key}".encode()).hexdigest()[:20]
        path = f"/v1/namespaces/shop/approvals/{name}"
        if name not in WORLD.orders:
            WORLD.gates.append(dict(body, verb=what))
            settled = [order for order in WORLD.orders.values() if order["gate"] == body.get("gate") and order["outcome"] == "done"]
            refusal = WORLD.options.get("refusal") or (settled and "the gate is settled already")
            if not refusal:
                it.turn(AFTER_APPROVE if what == "approve" else AFTER_REJECT)
            WORLD.orders[name] = {
                "name": name, "namespace": "shop", "canary": it.canary, "verb": what.capitalize(), "gate": body.get("gate"), "revision": None,
                "promotion": it.name, "requestedBy": "the tests", "reason": body.get("comment"),
                "outcome": f"refused: {refusal}" if refusal else "done", "answeredAt": "2026-01-01T10:00:00Z",
            }
        accepted = {"command": name, "promotion": it.document(it.at), "links": {"order": path}}
        return self.answer(202, accepted, Location=path)

    def order(self, name, seconds):
        it = WORLD.orders.get(name)
        if it is None:
            return self.problem(404, "not_found", "no such approval")
        if WORLD.options.get("unanswered", 0) > 0:
            WORLD.options["unanswered"] -= 1
            return self.answer(200, dict(it, outcome=None, answeredAt=None), X_Fake_Waited=seconds)
        return self.answer(200, it)

    def state(self, it, seconds, after):
        waited = 0
        if seconds:
            time.sleep(WORLD.options.get("slow", 0))
        if "every" in WORLD.options:
            waited = it.elapse(int(self.headers.get("X-Fake-Now")), seconds if it.at + 1 <= after else 0)
        elif seconds and it.at + 1 <= after and not it.finished() and not it.advance():
            waited = seconds
        it.asked += 1
        # Another replica may be a moment behind.
        behind = 1 if WORLD.options.get("stale") and it.asked % 3 == 0 and it.at > 0 else 0
        self.answer(200, it.document(it.at - behind), X_Fake_Waited=waited)

    def text(self, it, start):
        log = it.log()
        kept = max(0, len(log) - WORLD.options["keep"]) if "keep" in WORLD.options else 0
        kept = log.find(b"\n", kept - 1) + 1 if kept else 0
        more = {} if it.finished() else {"X_More_Data": "true"}
        self.answer(200, log[max(start, kept):], "text/plain; charset=utf-8", X_Text_Size=len(log), **more)


class FakeServer(ThreadingHTTPServer):
    """A client that is told to stop leaves without a word."""

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def main():
    server = FakeServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0), HookApi)
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
