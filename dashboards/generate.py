"""Writes the dashboards as JSON that Grafana imports: `dashboards/python dashboards/generate.py [FOLDER]`."""

import json
import pathlib
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard as Model

import canary
import controller
import fleet
import parts

# So that the options of each kind of panel, and queries, are read by their own schema.
register_default_plugins()
HERE = pathlib.Path(__file__).parent
ALL = {"canary": canary.dashboard, "fleet": fleet.dashboard, "controller": controller.dashboard}


def made():
    """Every dashboard as plain data, by the name of its file."""
    for name, build in ALL.items():
        data = json.loads(JSONEncoder().encode(build().build()))
        number(data["panels"])
        hold_to_schema(name, data)
        yield name, data


def hold_to_schema(name, data):
    """Ends with an error if the SDK's schema has no place for something: reading drops what it does not know."""
    read = json.loads(JSONEncoder().encode(Model.from_json(json.loads(json.dumps(data)))))
    for mark in data["annotations"].get("list", []):
        known = read["annotations"]["list"][data["annotations"]["list"].index(mark)]
        # The Prometheus data source's own fields; the schema of annotations leaves them out.
        known |= {field: mark[field] for field in parts.Event.FIELDS if field in mark}
    if read != data:
        sys.exit(f"dashboards: {name} is not what the schema of grafana-foundation-sdk has")


def number(panels):
    """Gives every panel an id that depends on its place alone, so that a second run gives the same text."""
    ids = iter(range(1, 1000))
    for panel in panels:
        panel["id"] = next(ids)
        for inner in panel.get("panels") or []:
            inner["id"] = next(ids)


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    for name, data in made():
        text = json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
