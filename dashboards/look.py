"""How the drawn dashboards look: colours, units, names of series, thresholds. Roughly as Grafana does it."""

import datetime
import math
import re

import matplotlib

matplotlib.use("Agg")
import matplotlib.dates as dates  # noqa: E402  (the backend comes first)
import matplotlib.pyplot as plt  # noqa: E402

BACK, PANEL, EDGE, TEXT, DIM, GRID = "#111217", "#181b1f", "#2c3036", "#d5d9df", "#8e959f", "#2a2e34"
COLORS = {
    "blue": "#5794f2", "light-blue": "#8ab8ff", "super-light-blue": "#c0d8ff", "dark-blue": "#1f60c4", "semi-dark-blue": "#3274d9", "orange": "#ff9830",
    "red": "#f2495c", "dark-red": "#c4162a", "green": "#73bf69", "light-green": "#96d98d", "super-light-green": "#c8f2c2",
    "yellow": "#fade2a", "purple": "#b877d9", "text": "#9fa7b3",
}
PALETTE = ["#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#705da0", "#37872d", "#fade2a",
           "#447ebc", "#c15c17", "#890f02", "#0a437c"]
# Distances of ticks that read well.
STEPS = {
    "s": [1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400, 172800, 604800],
    "bytes": [step << 20 for step in (1, 2, 5, 10, 20, 50, 100, 200, 500)],
}
HEAT = matplotlib.colors.LinearSegmentedColormap.from_list("heat", ["#2b2016", "#8a4a12", "#ff9830", "#fff0d8"])
plt.rcParams.update({"font.family": "DejaVu Sans", "text.color": TEXT, "axes.edgecolor": EDGE, "axes.labelcolor": DIM,
                     "xtick.color": DIM, "ytick.color": DIM, "font.size": 8, "svg.fonttype": "none", "svg.hashsalt": "b"})


def color(name):
    return COLORS.get(name, name)


def shown(value, unit, decimals=None):
    """A value as Grafana writes it, roughly."""
    if value is None or math.isnan(value):
        return "–"
    if unit in ("s", "ms"):
        seconds = value / 1000 if unit == "ms" else value
        for size, name in ((86400, "day"), (3600, "h"), (60, "min"), (1, "s")):
            if abs(seconds) >= size:
                return f"{seconds / size:.3g} {name}"
        return f"{seconds * 1000:.3g} ms" if seconds else "0"
    if unit == "bytes":
        for size, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
            if abs(value) >= size:
                return f"{value / size:.3g} {name}"
        return f"{value:.0f} B"
    # A third digit only where the values lie close together.
    text = f"{value:.{decimals}f}" if decimals is not None else f"{value:.4g}"
    return text + {"percent": " %", "reqps": " req/s", "ops": " ops/s"}.get(unit, "")


def label(target, series):
    form = target.get("legendFormat", "__auto")
    if form == "__auto":
        return ", ".join(v for k, v in series["metric"].items() if k != "__name__") or "value"
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda m: series["metric"].get(m.group(1), ""), form).strip()


def last(series):
    values = [float(v) for _, v in (series.get("values") or [series["value"]])]
    known = [v for v in values if not math.isnan(v)]
    return known[-1] if known else math.nan


def override(panel, name, prop):
    """What the panel's overrides say of one property of the series `name`."""
    for each in panel["fieldConfig"].get("overrides", []):
        matcher = each["matcher"]
        hit = matcher["options"] == name if matcher["id"] == "byName" else re.search(matcher["options"].strip("/"), name)
        for found in each["properties"] if hit else []:
            if found["id"] == prop:
                return found["value"]
    return None


def threshold(steps, value):
    chosen = steps[0]["color"]
    for step in steps[1:]:
        if value >= step["value"]:
            chosen = step["color"]
    return color(chosen)


def mapping(mappings, value):
    for each in mappings or []:
        found = each["options"].get(f"{value:g}")
        if found:
            return found["text"], color(found["color"])
    return None


def clock(seconds):
    return dates.date2num(datetime.datetime.fromtimestamp(float(seconds), datetime.UTC))
