"""Prints every PromQL expression of dashboards, rules and docs as JSON lines, with the variables put in.

    dashboards/python dashboards/expressions.py --namespace shop --canary web [--interval 30s] [--window 1h] …

Each line: `where`, `expr`, `kind` (`range`: over the time in question; `instant`: at its end), `mayBeEmpty` and `why`.
An expression that is not marked must have data after a release. `where` is also how `render.py` finds a panel's data.
"""

import argparse
import json
import pathlib
import re
import sys

import yaml

import generate
import parts

ROOT = pathlib.Path(__file__).parent.parent
MUST_NOT_FIRE = "an alert that must not fire"
# What a rule reads may be missing for a good reason.
BORN_LATE = {
    "bellwether_canary_held": "nothing is held",
    "bellwether_canary_held_timestamp_seconds": "nothing is held",
    "bellwether_reconcile_errors_total": "no round failed so",
    "bellwether_watch_failures_total": "no watch failed",
    "bellwether_writes_refused_total": "no write was refused",
    "bellwether_sink_given_up_total": "nothing was given up",
    "bellwether_sink_waiting": "no sink of HTTP is configured",
    "bellwether_sink_failures_total": "no sink of HTTP is configured, or no try failed",
    "bellwether_hook_requests_total": "nobody called the hook API",
    "bellwether_api_requests_total": "no request failed so",
    "bellwether_releases_total": "no release ended so",
    "bellwether_queue_wait_seconds_bucket": "nothing waited in this lane",
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--namespace", required=True, help="the Canary's")
    parser.add_argument("--canary", required=True)
    parser.add_argument("--workload", help="name of the Deployment, if it is not the Canary's")
    parser.add_argument("--fleet-namespace", default=".*", help="namespaces on the dashboard of the fleet")
    parser.add_argument("--cluster", default=".*")
    parser.add_argument("--job", default=".*")
    parser.add_argument("--check", default=".*", help="regex of the checks' names")
    parser.add_argument("--reporter", default="destination")
    parser.add_argument("--interval", default="1m", help="for $__rate_interval: four scrapes or more")
    parser.add_argument("--step", default="15s", help="for $__interval: the distance of the points that are asked for")
    parser.add_argument("--window", default="1d", help="for $window and $__range")
    return parser.parse_args()


def put_in(expr, args):
    """What Grafana does with the variables."""
    values = {
        "__rate_interval": args.interval, "__interval": args.step, "__range": args.window, "window": args.window,
        "cluster": args.cluster, "namespace": args.namespace, "canary": args.canary, "job": args.job,
        "workload": args.workload or args.canary, "reporter": args.reporter, "check": args.check,
    }
    # The longest name first: `$__rate_interval` before `$__range` and the like.
    for name in sorted(values, key=len, reverse=True):
        expr = re.sub(r"\$\{%s\}|\$%s\b" % (name, name), lambda _: values[name], expr)
    left = re.search(r"\$\{?\w+", expr)
    if left:
        sys.exit(f"no value for {left.group(0)} in {expr}")
    return expr


def line(where, expr, kind, why=None, **more):
    return {"where": where, "expr": expr, "kind": kind, "mayBeEmpty": why is not None, "why": why} | more


def of_dashboards(args):
    one = args
    for name, data in generate.made():
        # The fleet shows all Canaries.
        every = {"namespace": args.fleet_namespace, "canary": ".*"}
        args = argparse.Namespace(**vars(one) | every) if name == "fleet" else one
        file = f"dashboards/{name}.json"
        for panel in flat(data["panels"]):
            for target in panel.get("targets") or []:
                where = f"{file} panel {panel['id']} {target['refId']}: {panel['title']}"
                why = parts.WHY.get(target["expr"])
                kind = "instant" if target.get("instant") else "range"
                yield line(where, put_in(target["expr"], args), kind, why)
        for mark in data["annotations"].get("list", []):
            where = f"{file} annotation {mark['name']}"
            yield line(where, put_in(mark["expr"], args), "range", parts.WHY.get(mark["expr"]))
        for variable in data["templating"]["list"]:
            if variable["type"] != "query":
                continue
            series, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
            # Without the label there is nothing to choose, and All stays.
            why = "the series need not have the label `cluster`" if label == "cluster" else None
            expr = put_in(f'group by ({label}) ({series[:-1]},{label}!=""}})' if series.endswith("}")
                          else f'group by ({label}) ({series}{{{label}!=""}})', args)
            yield line(f"{file} variable {variable['name']}", expr, "instant", why)


def flat(panels):
    for panel in panels:
        yield panel
        yield from panel.get("panels") or []


def of_rules():
    file = "rules/bellwether.yaml"
    seen = set()
    for group in yaml.safe_load((ROOT / file).read_text())["groups"]:
        for place, rule in enumerate(group["rules"], 1):
            where = f"{file} {group['name']} {place} {rule.get('alert') or rule['record']}"
            expr = rule["expr"].strip()
            if "alert" in rule:
                yield line(where, expr, "instant", MUST_NOT_FIRE)
            else:
                yield line(where, expr, "instant", BORN_LATE["bellwether_canary_held"] if "held" in expr else None)
            # An alert that never has data would not fire either: what it reads must be there.
            for name, matchers in re.findall(r"\b(bellwether_\w+)(\{[^}]*\})?", expr):
                if (name + matchers) not in seen:
                    seen.add(name + matchers)
                    why = BORN_LATE.get(name)
                    # Some such series is there in any case; only those that the matchers choose may be missing.
                    if not matchers and name in {"bellwether_api_requests_total", "bellwether_releases_total"}:
                        why = None
                    yield line(f"{where}, reads", name + matchers, "instant", why)


def of_docs(args):
    for page in sorted((ROOT / "docs").rglob("*.md")):
        for block in re.findall(r"^```promql\n(.*?)^```", page.read_text(), re.S | re.M):
            why = None
            for text in block.splitlines():
                expr, _, comment = text.partition("#")
                reason = comment.partition("may be empty:")[2].strip() or None
                if not expr.strip():
                    why = reason
                    continue
                for name, value in [("NAMESPACE", args.namespace), ("NAME", args.canary),
                                    ("WORKLOAD", args.workload or args.canary)]:
                    expr = re.sub(rf"\b{name}\b", value, expr)
                yield line(str(page.relative_to(ROOT)), expr.strip(), "instant", reason or why)
                why = None


def main():
    args = arguments()
    for made in [of_dashboards(args), of_rules(), of_docs(args)]:
        for each in made:
            print(json.dumps(each))


if __name__ == "__main__":
    main()
