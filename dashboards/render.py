"""Draws the dashboards from what `execute.py` wrote, in the dashboards' own layout: no Grafana is needed.

    dashboards/python dashboards/render.py results.json --out FOLDER [--format svg] [--only canary]

It shows that every panel has data and how they stand side by side; it is not Grafana's own drawing.
"""

import argparse
import datetime
import json
import math
import pathlib

import numpy as np

from draw import Panel
from look import BACK, DIM, color, plt

HERE = pathlib.Path(__file__).parent
NAMES = ["canary", "fleet", "controller"]
UNIT_W, UNIT_H = 0.72, 0.40  # inches of one unit of the grid


class Data:
    """Answers by where their expression stands."""

    def __init__(self, file):
        told = json.loads(pathlib.Path(file).read_text())
        self.start, self.end, self.step = told["start"], told["end"], told["step"]
        self.by_where = {answer["where"]: answer for answer in told["answers"]}

    def of(self, name, panel, target):
        where = f"dashboards/{name}.json panel {panel['id']} {target['refId']}: {panel['title']}"
        return self.by_where.get(where, {"result": []})["result"]

    def mark(self, name, annotation):
        return self.by_where.get(f"dashboards/{name}.json annotation {annotation}", {"result": []})["result"]

    def grid(self):
        return np.arange(self.start, self.end + self.step / 2, self.step)

    def values(self, series):
        """Values on the grid of times, NaN where there is none."""
        made = np.full(len(self.grid()), np.nan)
        for time, value in series.get("values") or [series["value"]]:
            place = round((float(time) - self.start) / self.step)
            if 0 <= place < len(made):
                made[place] = float(value)
        return made


def marks_of(data, name, board):
    """Where the annotations lie: moments, or spans of neighbouring samples."""
    made = []
    for mark in board["annotations"].get("list", []):
        spans = []
        for series in data.mark(name, mark["name"]):
            if mark.get("useValueForTime"):
                moments = sorted({float(value) / 1000 for _, value in series["values"]})
                spans += [(moment, moment) for moment in moments if data.start <= moment <= data.end]
                continue
            begin = before = None
            for time, value in [(t, float(v)) for t, v in series["values"] if float(v) > 0] + [(math.inf, 0)]:
                if before is not None and time - before > 1.5 * data.step:
                    spans.append((begin, before))
                    begin = None
                begin, before = (time if begin is None else begin), time
        made.append((mark["name"], color(mark["iconColor"]), spans))
    return made


def laid_out(data, name, board):
    """Panels with their places, after rows that repeat; a collapsed row shows its title only."""
    down, placed = 0, []
    for panel in board["panels"]:
        place = dict(panel["gridPos"])
        place["y"] += down
        if not panel.get("repeat"):
            placed.append((panel, place))
            continue
        probe = Panel(None, data, name, panel, None)
        values = sorted({series["metric"]["metric"] for _, series in probe.series()}) or ["none"]
        across = min(len(values), int(panel.get("maxPerRow", 4)))
        for count, value in enumerate(values):
            one = panel | {"title": value, "only": ("metric", value)}
            spot = {"x": count % across * 24 // across, "w": 24 // across, "h": place["h"],
                    "y": place["y"] + count // across * place["h"]}
            placed.append((one, spot))
        down += ((len(values) - 1) // across) * place["h"]
    return placed


class Repeated(Panel):
    """A panel under another title than the one by which its data is found."""

    def __init__(self, figure, data, name, panel, box, source):
        super().__init__(figure, data, name, panel, box)
        self.source = source

    def series(self):
        shown_as, self.panel = self.panel, self.panel | {"title": self.source}
        try:
            return super().series()
        finally:
            self.panel = shown_as


def picture(data, name, out, form):
    board = json.loads((HERE / f"{name}.json").read_text())
    placed = laid_out(data, name, board)
    height = max(place["y"] + place["h"] for _, place in placed)
    marks = marks_of(data, name, board)
    titled = 1.6
    figure = plt.figure(figsize=(24 * UNIT_W, (height + titled) * UNIT_H), facecolor=BACK)
    head = figure.add_axes((0, 1 - titled / (height + titled), 1, titled / (height + titled)))
    head.axis("off")
    when = "%Y-%m-%d %H:%M:%S"
    span = " to ".join(datetime.datetime.fromtimestamp(t, datetime.UTC).strftime(when) for t in (data.start, data.end))
    head.text(0.006, 0.5, board["title"], fontsize=13, weight="bold", va="center")
    head.text(0.994, 0.5, f"{span} UTC", color=DIM, ha="right", va="center")
    x = 0.22
    for title, tint, spans in marks:
        head.text(x, 0.5, "┃ " + title, color=tint, fontsize=8, va="center", alpha=1 if spans else 0.45)
        x += 0.03 + 0.0062 * len(title)
    for panel, place in placed:
        box = (place["x"] * UNIT_W, (place["y"] + titled) * UNIT_H, place["w"] * UNIT_W, place["h"] * UNIT_H)
        if panel["type"] == "row":
            inner = panel.get("panels") or []
            axes = Panel(figure, data, name, panel | {"fieldConfig": {}}, box).axes()
            axes.axis("off")
            sign, more = ("▸", f"   ({len(inner)} panels, collapsed)") if inner else ("▾", "")
            axes.text(0.006, 0.45, f"{sign} {panel['title']}{more}", fontsize=10, weight="bold", va="center")
            continue
        panel = panel | {"marks": marks}
        made = Panel(figure, data, name, panel, box)
        if panel.get("only"):
            made = Repeated(figure, data, name, panel, box, f"${panel['repeat']}")
        made.draw()
    file = pathlib.Path(out) / f"{name}.{form}"
    figure.savefig(file, facecolor=BACK, dpi=100, metadata={"Date": None} if form == "svg" else None)
    plt.close(figure)
    return file


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", help="what execute.py wrote")
    parser.add_argument("--out", default=".", help="folder for the pictures")
    parser.add_argument("--format", choices=["png", "svg"], default="png")
    parser.add_argument("--only", choices=NAMES)
    args = parser.parse_args()
    data = Data(args.results)
    for name in [args.only] if args.only else NAMES:
        print(picture(data, name, args.out, args.format))


if __name__ == "__main__":
    main()
