"""Prints made-up metrics of an hour as OpenMetrics with times, for trying the dashboards without a cluster.

`shop/web` has a good release, then a bad one; others are held, at rest or under way. The last sample is at the time given.
The names and labels are those that src/metrics.rs exports; test.sh runs every expression on them.
"""

import math
import random
import sys

STEP, LENGTH = 15, 3600
END = int(sys.argv[1])
START = END - LENGTH
POD = {"job": "bellwether", "instance": "10.0.0.7:8080", "pod": "bellwether-a"}
OTHER = {"job": "bellwether", "instance": "10.0.0.8:8080", "pod": "bellwether-b"}
GOOD = (600, 1380)
BAD = (2100, 2640)
LATENCY = [5, 10, 25, 50, 100, 250, 500, 1000, 2500]
chance = random.Random(7)
families: dict[str, list[str]] = {}
kinds: dict[str, str] = {}


def emit(name, labels, second, value, kind="gauge", suffix=""):
    text = ",".join(f'{key}="{value}"' for key, value in labels.items())
    kinds[name] = kind
    families.setdefault(name, []).append(f"{name}{suffix}{{{text}}} {round(value, 6)} {START + second}")


def count(name, labels, second, value):
    emit(name, labels, second, value, "counter", "_total")


class Histogram:
    """A histogram that remembers, so that its buckets grow."""

    def __init__(self, name, labels, bounds, kind="histogram"):
        self.name, self.labels, self.bounds = name, labels, bounds
        self.buckets, self.sum, self.count = [0] * (len(bounds) + 1), 0.0, 0

    def add(self, value, times=1):
        self.count += times
        self.sum += value * times
        for place, bound in enumerate([*self.bounds, math.inf]):
            if value <= bound:
                self.buckets[place] += times

    def emit(self, second):
        for bound, value in zip([*self.bounds, "+Inf"], self.buckets):
            emit(self.name, self.labels | {"le": str(bound)}, second, value, "histogram", "_bucket")
        emit(self.name, self.labels, second, self.sum, "histogram", "_sum")
        emit(self.name, self.labels, second, self.count, "histogram", "_count")


def weight(second):
    for begin, end in (GOOD, BAD):
        if begin <= second < end:
            step = (second - begin) // 120
            return min(step * 10, 50) if begin == GOOD[0] else min(step * 10, 30)
    return 0


def phase(second):
    if second < GOOD[0]:
        return "Initialized"
    if second < GOOD[1]:
        return "Progressing" if second < GOOD[1] - 90 else "Promoting" if second < GOOD[1] - 30 else "Finalising"
    if second < BAD[0]:
        return "Succeeded"
    return "Progressing" if second < BAD[1] else "Failed"


def web(second, held):
    me = {"namespace": "shop", "name": "web"} | POD
    now = phase(second)
    emit("bellwether_canary_phase", me | {"phase": now}, second, 1)
    emit("bellwether_canary_status", me, second, {"Failed": 2, "Succeeded": 1, "Initialized": 1}.get(now, 0))
    emit("bellwether_canary_weight", me, second, weight(second))
    bad = BAD[0] + 240 <= second
    failed = min((second - BAD[0] - 240) // 60 + 1, 5) if bad else 1 if 900 <= second < GOOD[1] else 0
    emit("bellwether_canary_failed_checks", me, second, failed)
    since = START + (0 if second < GOOD[0] else GOOD[0] if second < BAD[0] else BAD[0])
    emit("bellwether_canary_revision_timestamp_seconds", me, second, since)
    for reason, begin, end in held:
        if begin <= second < end:
            emit("bellwether_canary_held", me | {"reason": reason}, second, 1)
            emit("bellwether_canary_held_timestamp_seconds", me | {"reason": reason}, second, START + begin)
    if second >= GOOD[0] + 120:
        rate = 95.5 + chance.random() if bad else 99.9 if failed == 0 or second > 990 else 98.7
        slow = 180 + 40 * chance.random()
        outcome = "Bad" if rate < 99 else "Pass"
        quiet = any(begin <= second < end for reason, begin, end in held if reason == "NoData")
        for metric, value, bounds, told in [
            ("request-success-rate", rate, {"min": 99}, "NoData" if quiet else outcome),
            ("request-duration", slow, {"max": 500}, "NoData" if quiet else "Pass"),
            ("queue-length", 12 + 4 * math.sin(second / 200), {"min": 1, "max": 20}, "Pass"),
        ]:
            emit("bellwether_canary_metric_analysis", me | {"metric": metric}, second, value)
            emit("bellwether_canary_check_outcome", me | {"metric": metric, "outcome": told}, second, 1)
            for bound, limit in bounds.items():
                emit("bellwether_canary_metric_bound", me | {"metric": metric, "bound": bound}, second, limit)
    if second >= GOOD[1]:
        count("bellwether_releases", me | {"outcome": "Promoted"}, second, 1)
    if second >= BAD[1]:
        count("bellwether_releases", me | {"outcome": "RolledBack"}, second, 1)


OTHERS = [
    # namespace, name, phase, status, weight, hold and since when, releases by outcome and when
    ("shop", "cart", "WaitingPromotion", 0, 50, ("AwaitingApproval", -7200), [("Promoted", 300)]),
    ("shop", "search", "Progressing", 0, 20, ("NoData", 2700), [("Superseded", 2500)]),
    ("pay", "ledger", "Promoting", 0, 100, ("PromotionFailed", 3000), [("Promoted", 1200)]),
    ("pay", "gateway", "Succeeded", 1, 0, None, [("Promoted", 900), ("Promoted", 2000)]),
    ("pay", "risk", "Progressing", 0, 30, None, [("RolledBack", 1700), ("FastPromoted", 2200)]),
    ("pay", "mail", "Failed", 2, 0, None, [("RolledBack", 2400), ("RolledBack", 3200)]),
    ("data", "feed", "Initialized", 1, 0, None, [("Aborted", 1500)]),
    ("data", "index", "Progressing", 0, 10, ("Paused", 3300), [("Promoted", 700)]),
]


def others(second, took):
    for namespace, name, now, status, share, hold, ends in OTHERS:
        me = {"namespace": namespace, "name": name} | POD
        begun = second >= 2400 or status == 1
        emit("bellwether_canary_phase", me | {"phase": now if begun else "Succeeded"}, second, 1)
        emit("bellwether_canary_status", me, second, status if begun else 1)
        emit("bellwether_canary_weight", me, second, min(share, (second - 2400) // 12) if begun else 0)
        emit("bellwether_canary_failed_checks", me, second, 0)
        emit("bellwether_canary_revision_timestamp_seconds", me, second, START + (2400 if begun else -9000))
        if hold and second >= hold[1]:
            emit("bellwether_canary_held", me | {"reason": hold[0]}, second, 1)
            emit("bellwether_canary_held_timestamp_seconds", me | {"reason": hold[0]}, second, START + hold[1])
        for outcome in dict.fromkeys(outcome for outcome, _ in ends):
            done = sum(kind == outcome and at <= second for kind, at in ends)
            if done:
                count("bellwether_releases", me | {"outcome": outcome}, second, done)
    for (namespace, outcome, at), seconds in took.items():
        if at == second:
            held = {"namespace": namespace, "outcome": outcome} | POD
            bounds = [60, 300, 600, 900, 1800, 3600, 7200, 21600, 86400]
            durations.setdefault((namespace, outcome), Histogram("bellwether_release_duration_seconds", held, bounds)).add(seconds)
    for each in durations.values():
        each.emit(second)


durations: dict[tuple, Histogram] = {}


def traffic():
    """Counts of Istio for both sides of `shop/web`."""
    counts: dict[tuple, float] = {}
    slow = {side: Histogram("istio_request_duration_milliseconds", {
        "reporter": "destination", "destination_workload": side, "destination_workload_namespace": "shop",
        "job": "pods", "response_code": "200"}, LATENCY) for side in ("web", "web-primary")}
    for second in range(0, LENGTH + 1, STEP):
        total = 40 + 10 * math.sin(second / 500) + 2 * chance.random()
        share = weight(second) / 100
        for side, rate in (("web-primary", total * (1 - share)), ("web", total * share)):
            bad = 0.04 if side == "web" and second >= BAD[0] + 200 else 0.001
            for code, part in (("200", 1 - bad - 0.002), ("503", bad), ("0", 0.002)):
                key = (side, code)
                if rate > 0 or key in counts:
                    counts[key] = counts.get(key, 0) + rate * part * STEP
                    labels = {"reporter": "destination", "destination_workload": side, "job": "pods",
                              "destination_workload_namespace": "shop", "response_code": code,
                              "source_workload": "gateway", "response_flags": "DC" if code == "0" else "-"}
                    count("istio_requests", labels, second, counts[key])
            for _ in range(int(rate * STEP)):
                slow[side].add(chance.lognormvariate(math.log(45 if side == "web-primary" else 70), 0.7))
            if slow[side].count:
                slow[side].emit(second)


def controller():
    wait = {lane: Histogram("bellwether_queue_wait_seconds", POD | {"lane": lane}, [0.001, 0.005, 0.02, 0.1, 0.5, 1, 5])
            for lane in ("urgent", "routine")}
    rounds = Histogram("bellwether_reconcile_duration_seconds", POD, [0.001, 0.005, 0.02, 0.1, 0.5, 1, 5])
    calls = {verb: Histogram("bellwether_api_request_duration_seconds", POD | {"verb": verb}, [0.005, 0.02, 0.1, 0.5, 1, 5])
             for verb in ("get", "patch", "watch")}
    hook = {route: Histogram("bellwether_hook_request_duration_seconds", POD | {"route": route}, [0.01, 0.1, 1, 10, 60])
            for route in ("/promotions", "/promotions/{id}")}
    totals: dict[tuple, float] = {}

    def grow(name, labels, second, by):
        key = (name, tuple(labels.items()))
        totals[key] = totals.get(key, 0) + by
        count(name, labels, second, totals[key])

    for second in range(0, LENGTH + 1, STEP):
        busy = 6 if phase(second) in ("Progressing", "Promoting", "Finalising") else 2 if second > 2400 else 0.3
        for who, leads in ((POD, 1), (OTHER, 0)):
            emit("bellwether_leader", who, second, leads)
            emit("bellwether_build_info", who | {"version": "0.1.0"}, second, 1)
            emit("process_resident_memory_bytes", who, second, 3.4e7 + 2e5 * busy * leads + 4e4 * chance.random())
            emit("process_start_time_seconds", who, second, START - 86400)
            grow("process_cpu_seconds", who, second, STEP * (0.002 + 0.004 * busy * leads))
        emit("bellwether_canaries", POD, second, len(OTHERS) + 1)
        grow("bellwether_reconcile_rounds", POD, second, busy * STEP / 3)
        for _ in range(int(busy * STEP / 3) + 1):
            rounds.add(chance.lognormvariate(math.log(0.012), 0.9))
            lane = "urgent" if chance.random() < 0.2 else "routine"
            wait[lane].add(chance.lognormvariate(math.log(0.004), 1))
        rounds.emit(second)
        for lane in wait:
            emit("bellwether_queue_depth", POD | {"lane": lane}, second, int(busy * chance.random() / (3 if lane == "urgent" else 1)))
            wait[lane].emit(second)
        for verb, kind, code, part in (("patch", "Canary", "200", 0.3), ("patch", "VirtualService", "200", 0.1),
                                       ("patch", "Canary", "409", 0.01), ("get", "Deployment", "200", 0.05),
                                       ("watch", "Canary", "200", 0.01), ("create", "Event", "201", 0.2)):
            grow("bellwether_api_requests", POD | {"verb": verb, "kind": kind, "code": code}, second, busy * part * STEP)
        for verb, each in calls.items():
            each.add(chance.lognormvariate(math.log(0.02 if verb != "watch" else 0.05), 0.6), int(busy) + 1)
            each.emit(second)
        for act, part in (("recording_the_status", 0.3), ("setting_weights", 0.1), ("applying_an_object", 0.02)):
            grow("bellwether_writes", POD | {"act": act}, second, busy * part * STEP)
        grow("bellwether_reconcile_errors", POD | {"reason": "Conflict"}, second, 0.05 * busy)
        if second > 3000:
            grow("bellwether_writes_refused", POD | {"act": "applying_an_object"}, second, 0.25)
            grow("bellwether_reconcile_errors", POD | {"reason": "WriteRefused"}, second, 0.25)
        for place, kind in enumerate(("Canary", "Deployment", "Service", "EndpointSlice", "VirtualService", "Freeze")):
            heard = START + second - second % (60 * (place + 1)) if kind != "Freeze" else START - 4000
            emit("bellwether_watch_last_event_timestamp_seconds", POD | {"kind": kind}, second, heard)
        if second > 1800:
            grow("bellwether_watch_failures", POD | {"kind": "Service"}, second, 1 if second < 1950 else 0)
        for route, code, rate in (("/promotions", "201", 0.02), ("/promotions/{id}", "200", 0.8),
                                  ("/promotions/{id}", "404", 0.01), ("/promotions", "503", 0.004)):
            grow("bellwether_hook_requests", POD | {"route": route, "code": code}, second, rate * STEP)
        for route, each in hook.items():
            each.add(chance.lognormvariate(math.log(0.03 if route == "/promotions" else 2), 0.8), 3)
            each.emit(second)
        grow("bellwether_event_failures", POD, second, 0)
        for sink in ("kubernetes-events", "broker"):
            grow("bellwether_sink_told", POD | {"sink": sink}, second, busy * 0.1 * STEP)
        emit("bellwether_sink_waiting", POD | {"sink": "broker"}, second, 5 if 2000 < second < 2300 else 0)
        if second > 2000:
            grow("bellwether_sink_failures", POD | {"sink": "broker", "reason": "unreachable"}, second,
                 1 if second < 2300 else 0)


def main():
    took = {}
    for namespace, _, _, _, _, _, ends in OTHERS:
        for outcome, at in ends:
            took[namespace, outcome, at] = chance.choice([420, 700, 800, 1500, 2600])
    took["shop", "Promoted", GOOD[1]] = GOOD[1] - GOOD[0]
    took["shop", "RolledBack", BAD[1] + 15] = BAD[1] - BAD[0]
    for second in range(0, LENGTH + 1, STEP):
        web(second, [("NoData", 840, 930), ("NotReached", 1290, 1335)])
        others(second, took)
    traffic()
    controller()
    for name, lines in families.items():
        print(f"# TYPE {name} {kinds[name]}")
        # Samples of one series must follow each other.
        for text in sorted(lines, key=lambda text: (text.rsplit(" ", 2)[0], int(text.rsplit(" ", 1)[1]))):
            print(text)
    print("# EOF")


if __name__ == "__main__":
    main()
