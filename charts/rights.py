#!/usr/bin/env python3
"""Compares the tables of docs/rights.md with the roles that the chart makes.

Reads the rendered chart, with the hook API and leader election, on standard input; needs nothing but Python.
"""
import pathlib
import re
import sys

DOCS = pathlib.Path(__file__).parent.parent / "docs" / "rights.md"


def documented() -> set[tuple[str, str, str]]:
    rights = set()
    for line in DOCS.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 4 or cells[0] in ("API group", "---"):
            continue
        group = "" if cells[0] == "core" else cells[0].strip("`")
        for resource in re.findall(r"`([^`]+)`", cells[1]):
            for verb in cells[2].split(","):
                right = (group, resource, verb.strip())
                if right in rights:
                    sys.exit(f"docs/rights.md has {right} twice")
                rights.add(right)
    return rights


def lists(rule: str) -> dict[str, list[str]]:
    """The lists of a rule, in one line each or with a line for every item."""
    found, name = {}, None
    for line in rule.splitlines():
        if match := re.match(r"^[ -]*(apiGroups|resources|verbs|resourceNames):(.*)$", line):
            name = match[1]
            found[name] = [item.strip(' "') for item in match[2].strip(" []").split(",") if item.strip()]
        elif match := re.match(r"^ *- (.*)$", line):
            found[name].append(match[1].strip(' "'))
    return found


def granted(rendered: str) -> set[tuple[str, str, str]]:
    rights = set()
    for document in rendered.split("\n---\n"):
        name = re.search(r"^  name: (\S+)$", document, re.M)
        role = re.search(r"^kind: (Cluster)?Role$", document, re.M)
        if not role or name[1] not in ("bellwether", "bellwether-leader-election"):
            continue
        for rule in re.split(r"^  - (?=apiGroups)", document.split("\nrules:", 1)[1], flags=re.M)[1:]:
            found = lists(re.sub(r"^ *#.*$", "", rule, flags=re.M))
            rights |= {
                (group, resource, verb)
                for group in found["apiGroups"] or [""]
                for resource in found["resources"]
                for verb in found["verbs"]
            }
    return rights


def main() -> None:
    told, made = documented(), granted(sys.stdin.read())
    for right in sorted(made - told):
        print(f"docs/rights.md does not have {right}, which the chart grants", file=sys.stderr)
    for right in sorted(told - made):
        print(f"docs/rights.md has {right}, which the chart does not grant", file=sys.stderr)
    sys.exit(0 if told == made and len(made) > 50 else 1)


main()
