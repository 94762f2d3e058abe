"""Runs the expressions that `expressions.py` prints against a Prometheus, and writes what it answers.

    dashboards/python dashboards/expressions.py --namespace shop --canary web |
        dashboards/python dashboards/execute.py --url http://127.0.0.1:9090 --start 1767225600 --end 1767229200 --step 15 > results.json

Ends with 1 if one is refused, or has no data and is not marked `mayBeEmpty`; these are told on standard error.
"""

import argparse
import json
import sys
import urllib.error
import urllib.parse
import urllib.request


def ask(args, each):
    """The answer to one expression: its result, or an error."""
    if each["kind"] == "range":
        path, more = "query_range", {"start": args.start, "end": args.end, "step": args.step}
    else:
        path, more = "query", {"time": args.end}
    body = urllib.parse.urlencode({"query": each["expr"]} | more).encode()
    try:
        with urllib.request.urlopen(f"{args.url}/api/v1/{path}", body, timeout=60) as answer:
            told = json.load(answer)
    except urllib.error.HTTPError as error:
        told = json.loads(error.read() or b"{}")
    return told.get("data", {}).get("result"), told.get("error"), told.get("warnings", []) + told.get("infos", [])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--start", type=float, required=True, help="seconds since the epoch")
    parser.add_argument("--end", type=float, required=True)
    parser.add_argument("--step", type=float, default=15, help="seconds")
    args = parser.parse_args()
    answers, faults, empty = [], [], 0
    for text in sys.stdin:
        each = json.loads(text)
        result, error, notes = ask(args, each)
        if error:
            faults.append(f"refused: {each['where']}: {error}\n    {each['expr']}")
        elif not result:
            empty += 1
            if not each["mayBeEmpty"]:
                faults.append(f"no data: {each['where']}\n    {each['expr']}")
        for note in notes:
            print(f"note: {each['where']}: {note}", file=sys.stderr)
        answers.append(each | {"result": result or []})
    json.dump({"start": args.start, "end": args.end, "step": args.step, "answers": answers}, sys.stdout)
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{len(answers)} expressions, {empty} without data, {len(faults)} faults", file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
