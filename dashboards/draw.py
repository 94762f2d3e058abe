"""Draws one panel of each kind."""

import math
import re
import textwrap

import matplotlib
import matplotlib.dates as dates
import numpy as np
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

from look import (
    COLORS, DIM, EDGE, GRID, HEAT, PALETTE, PANEL, STEPS, TEXT, clock, color, label, last, mapping, override, shown,
    threshold,
)


class Panel:
    """One panel at its place of the picture."""

    def __init__(self, figure, data, name, panel, box):
        self.figure, self.data, self.name, self.panel, self.box = figure, data, name, panel, box
        defaults = panel.get("fieldConfig", {}).get("defaults", {})
        self.unit, self.defaults, self.options = defaults.get("unit"), defaults, panel.get("options", {})

    def series(self):
        """Name and series of every answer; a repeated panel shows those of its own value alone."""
        found = []
        for target in self.panel.get("targets") or []:
            for series in self.data.of(self.name, self.panel, target):
                only = self.panel.get("only")
                if only and series["metric"].get(only[0]) != only[1]:
                    continue
                found.append((label(target, series), series))
        return found

    def axes(self, left=0.0, right=0.0, top=0.0, bottom=0.0):
        """Axes inside the panel; the margins are in inches."""
        x, y, w, h = self.box
        fw, fh = self.figure.get_size_inches()
        return self.figure.add_axes(((x + left) / fw, 1 - (y + h - bottom) / fh, (w - left - right) / fw,
                                     (h - top - bottom) / fh))

    def frame(self):
        whole = self.axes()
        whole.axis("off")
        whole.set_xlim(0, self.box[2])
        whole.set_ylim(self.box[3], 0)
        if not self.panel.get("transparent"):
            whole.add_patch(FancyBboxPatch((0.02, 0.02), self.box[2] - 0.04, self.box[3] - 0.04, facecolor=PANEL,
                                           edgecolor=EDGE, linewidth=0.6, boxstyle="round,pad=0,rounding_size=0.04"))
        whole.text(0.12, 0.2, self.panel["title"], fontsize=8.5, weight="medium", va="center")
        return whole

    def empty(self, whole, words="No data"):
        whole.text(self.box[2] / 2, self.box[3] / 2 + 0.1, words, color=DIM, ha="center", va="center", fontsize=9)

    def draw(self):
        whole = self.frame()
        kind = self.panel["type"]
        if kind == "text":
            words = re.sub(r"[*`]", "", self.options["content"])
            whole.text(0.12, 0.5, "\n".join(textwrap.wrap(words, 190)), va="top", color=DIM)
            return
        found = self.series()
        if not found and kind != "stat":
            self.empty(whole, self.defaults.get("noValue", "No data"))
            return
        {"timeseries": self.lines, "stat": self.number, "state-timeline": self.states, "heatmap": self.heat,
         "bargauge": self.bars, "table": self.table}[kind](whole, found)

    # === kinds of panels ===

    def time_axis(self, axes):
        axes.set_xlim(clock(self.data.start), clock(self.data.end))
        most = max(2, self.box[2] / 0.95)
        span = self.data.end - self.data.start
        step = next((s for s in [2, *STEPS["s"]] if span / s <= most), span)
        ticks = np.arange(math.ceil(self.data.start / step) * step, self.data.end, step)
        axes.set_xticks([clock(tick) for tick in ticks])
        axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M" if step % 60 == 0 else "%H:%M:%S"))
        axes.tick_params(length=0, labelsize=7)
        axes.tick_params(axis="x", pad=5)
        for side in axes.spines.values():
            side.set_visible(False)
        axes.set_facecolor("none")

    def lines(self, whole, found):
        custom = self.defaults.get("custom", {})
        bars, stacked = custom.get("drawStyle") == "bars", custom.get("stacking", {}).get("mode") == "normal"
        table = self.options["legend"]["placement"] == "right"
        rows = 1 if table else min(3, -(-sum(len(n) + 4 for n, _ in found) // int(self.box[2] * 13)))
        axes = self.axes(0.62, 1.9 if table else 0.15, 0.42, 0.34 + 0.16 * (0 if table else rows))
        times = [clock(t) for t in self.data.grid()]
        base, drawn = np.zeros(len(times)), []
        for place, (name, series) in enumerate(found):
            values = self.data.values(series)
            fixed = override(self.panel, name, "color")
            tint = color(fixed["fixedColor"]) if fixed else PALETTE[place % len(PALETTE)]
            dashed = name.startswith(("Bound", "Intended"))
            if bars:
                width = (self.data.step / 86400) * 0.9
                axes.bar(times, np.nan_to_num(values), width, base if stacked else 0, color=tint, linewidth=0)
                base = base + np.nan_to_num(values)
            elif stacked:
                top = base + np.nan_to_num(values)
                axes.fill_between(times, base, top, color=tint, alpha=0.35, linewidth=0, step="post")
                axes.step(times, np.where(np.isnan(values), np.nan, top), color=tint, linewidth=0.9, where="post")
                base = top
            else:
                lonely = np.count_nonzero(~np.isnan(values)) < 3
                axes.plot(times, values, color=tint, linewidth=1.1, linestyle="--" if dashed else "-",
                          marker="o" if lonely else None, markersize=3)
                if custom.get("fillOpacity", 0) > 4:
                    axes.fill_between(times, 0, values, color=tint, alpha=0.08, linewidth=0)
            drawn.append((name, tint, values))
        self.limits(axes, custom, base if stacked else None, drawn)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, self.unit)))
        axes.grid(color=GRID, linewidth=0.5)
        self.time_axis(axes)
        self.marks(axes)
        self.legend(whole, drawn, table)

    def limits(self, axes, custom, stack, drawn):
        highest = np.nanmax(stack) if stack is not None else max(
            (np.nanmax(v) for _, _, v in drawn if not np.isnan(v).all()), default=1)
        lowest = min((np.nanmin(v) for _, _, v in drawn if not np.isnan(v).all()), default=0)
        low = self.defaults.get("min", None)
        high = self.defaults.get("max", None)
        soft = custom.get("axisSoftMax")
        room = (highest - (lowest if low is None else low)) * 0.08 or abs(highest) * 0.1 or 1
        axes.set_ylim(lowest - room if low is None else low,
                      (highest + room / 4 if high is None else max(high, highest) + room / 4) if soft is None
                      else max(soft, highest + room))
        most = 5 if self.box[3] > 2.5 else 3
        axes.yaxis.set_major_locator(MaxNLocator(most, integer=self.unit == "none"))
        low, high = axes.get_ylim()
        if self.unit in STEPS:
            step = next((s for s in STEPS[self.unit] if (high - low) / s <= most + 0.5), None)
            if step and step > STEPS[self.unit][0]:
                axes.yaxis.set_major_locator(MultipleLocator(step))

    def marks(self, axes):
        """Annotations: lines for moments, shades for times."""
        for name, tint, spans in self.panel.get("marks", []):
            for begin, end in spans:
                if end - begin > 1.5 * self.data.step:
                    axes.axvspan(clock(begin), clock(end), ymax=1, color=tint, alpha=0.10, linewidth=0)
                axes.axvline(clock(begin), color=tint, linewidth=0.8, linestyle=(0, (3, 2)), alpha=0.9)

    def legend(self, whole, drawn, table):
        if table:
            x = self.box[2] - 1.78
            whole.text(self.box[2] - 0.12, 0.5, "mean", color=DIM, fontsize=6.5, ha="right", va="center")
            for place, (name, tint, values) in enumerate(drawn[: int((self.box[3] - 0.7) / 0.19)]):
                y = 0.7 + 0.19 * place
                whole.add_patch(Rectangle((x, y - 0.02), 0.14, 0.04, color=tint))
                whole.text(x + 0.2, y, name[:22], fontsize=7, va="center")
                mean = np.nanmean(values) if not np.isnan(values).all() else math.nan
                whole.text(self.box[2] - 0.12, y, shown(mean, self.unit).split(" ")[0], fontsize=7, ha="right", va="center")
            return
        rows = min(3, -(-sum(len(n) + 4 for n, _, _ in drawn) // int(self.box[2] * 13)))
        x, y = 0.15, self.box[3] - 0.16 * rows
        for name, tint, _ in drawn:
            wide = 0.22 + 0.0725 * len(name)
            if x + wide > self.box[2] - 0.1:
                x, y = 0.15, y + 0.16
                if y > self.box[3] - 0.05:
                    break
            whole.add_patch(Rectangle((x, y - 0.02), 0.14, 0.04, color=tint))
            whole.text(x + 0.19, y, name, fontsize=7, va="center", color=TEXT)
            x += wide + 0.1

    def number(self, whole, found):
        middle = self.box[3] / 2 + (0 if self.options.get("graphMode") == "area" else 0.12)
        if not found:
            self.empty(whole, self.defaults.get("noValue", "No data"))
            return
        if self.options.get("textMode") == "name":
            words = ", ".join(dict.fromkeys(name for name, _ in found))
            tint = threshold(self.defaults["thresholds"]["steps"], 1)
        else:
            value = last(found[0][1])
            told = mapping(self.defaults.get("mappings"), value)
            words, tint = told or (shown(value, self.unit, self.defaults.get("decimals")),
                                   threshold(self.defaults["thresholds"]["steps"], value))
            if self.options.get("graphMode") == "area":
                axes = self.axes(0.06, 0.06, self.box[3] * 0.6, 0.06)
                values = self.data.values(found[0][1])
                axes.fill_between(range(len(values)), 0, values, color=tint, alpha=0.18, linewidth=0)
                axes.plot(values, color=tint, linewidth=0.8, alpha=0.7)
                axes.axis("off")
        if tint == COLORS["text"]:
            tint = TEXT
        size = min(19, self.box[2] * 72 / max(1, len(words)) * 1.25)
        whole.text(self.box[2] / 2, middle, words, fontsize=size, color=tint, ha="center", va="center", weight="medium",
                   zorder=5)

    def states(self, whole, found):
        names = list(dict.fromkeys(name for name, _ in found))
        wide = 0.2 + 0.075 * max(len(name) for name in names)
        axes = self.axes(wide, 0.15, 0.4, 0.32)
        for row, name in enumerate(reversed(names)):
            values = np.full(len(self.data.grid()), np.nan)
            for other, series in found:
                if other == name:
                    new = self.data.values(series)
                    values = np.where(np.isnan(new), values, new)
            begin = 0
            for place in range(1, len(values) + 1):
                same = place < len(values) and (values[place] == values[begin]
                                                or (np.isnan(values[place]) and np.isnan(values[begin])))
                if same:
                    continue
                if not np.isnan(values[begin]):
                    words, tint = mapping(self.defaults.get("mappings"), values[begin]) or (f"{values[begin]:g}", PALETTE[0])
                    left, right = self.data.start + begin * self.data.step, self.data.start + place * self.data.step
                    axes.barh(row, clock(right) - clock(left), 0.8, clock(left), color=tint, alpha=0.85, linewidth=0)
                    share = (right - left) / (self.data.end - self.data.start) * (self.box[2] - wide)
                    if share > 0.085 * len(words):
                        dark = sum(int(tint[i:i + 2], 16) for i in (1, 3, 5)) > 380
                        axes.text(clock((left + right) / 2), row, words, ha="center", va="center", fontsize=7,
                                  color="#111217" if dark else "#ffffff")
                begin = place
        axes.set_yticks(range(len(names)), list(reversed(names)))
        axes.set_ylim(-0.6, len(names) - 0.4)
        self.time_axis(axes)

    def heat(self, whole, found):
        bounds = sorted(((float("inf") if s["metric"]["le"] == "+Inf" else float(s["metric"]["le"])), s) for _, s in
                        [(n, s) for n, s in found]) if len({s["metric"]["le"] for _, s in found}) == len(found) else []
        rows = np.array([np.nan_to_num(self.data.values(series)) for _, series in bounds])
        cells = np.diff(rows, axis=0, prepend=0)
        cells[cells < 1e-9] = np.nan
        axes = self.axes(0.62, 0.62, 0.42, 0.34)
        grid = self.data.grid()
        edges = [clock(t) for t in np.append(grid, grid[-1] + self.data.step)]
        drawn = axes.pcolormesh(edges, np.arange(len(bounds) + 1), cells, cmap=HEAT, rasterized=True,
                                norm=matplotlib.colors.PowerNorm(0.5))
        unit = self.options["yAxis"].get("unit")
        axes.set_yticks(np.arange(len(bounds)) + 1, ["inf" if b == float("inf") else shown(b, unit) for b, _ in bounds])
        self.time_axis(axes)
        axes.set_xlim(edges[0], edges[-1])
        scale = self.axes(self.box[2] - 0.5, 0.38, 0.6, 0.5)
        self.figure.colorbar(drawn, cax=scale).ax.tick_params(length=0, labelsize=6)
        scale.yaxis.set_major_locator(MaxNLocator(4))
        for side in scale.spines.values():
            side.set_visible(False)

    def bars(self, whole, found):
        pairs = [(name, last(series)) for name, series in found]
        wide = 0.25 + 0.075 * max(len(name) for name, _ in pairs)
        axes = self.axes(wide, 0.75, 0.45, 0.15)
        highest = max((value for _, value in pairs), default=1) or 1
        for row, (name, value) in enumerate(reversed(pairs)):
            fixed = override(self.panel, name, "color")
            tint = color(fixed["fixedColor"]) if fixed else COLORS["blue"]
            axes.barh(row, highest, 0.7, color="#22262b")
            axes.barh(row, value, 0.7, color=tint, alpha=0.85)
            axes.text(highest * 1.02, row, shown(value, self.unit), va="center", fontsize=8, color=tint)
        axes.set_yticks(range(len(pairs)), [name for name, _ in reversed(pairs)])
        axes.set_xlim(0, highest)
        axes.set_ylim(-0.6, len(pairs) - 0.4)
        axes.set_xticks([])
        axes.tick_params(length=0)
        axes.set_facecolor("none")
        for side in axes.spines.values():
            side.set_visible(False)

    def table(self, whole, found):
        lines = {}
        targets = self.panel["targets"]
        for target in targets:
            field = f"Value #{target['refId']}" if len(targets) > 1 else "Value"
            for series in self.data.of(self.name, self.panel, target):
                labels = {k: v for k, v in series["metric"].items() if k != "__name__"}
                lines.setdefault(tuple(sorted(labels.items())), dict(labels))[field] = last(series)
        organize = next(t["options"] for t in self.panel["transformations"] if t["id"] == "organize")
        fields = sorted(organize["indexByName"], key=organize["indexByName"].get)
        fields = [f for f in fields if any(f in line for line in lines.values())]
        rows = list(lines.values())
        by = (self.options.get("sortBy") or [{}])[0].get("displayName")
        field = next((f for f in fields if organize["renameByName"][f] == by), None)
        if field:
            rows.sort(key=lambda line: -line.get(field, 0))
        width = (self.box[2] - 0.3) / len(fields)
        for column, name in enumerate(fields):
            title = organize["renameByName"][name]
            x = 0.15 + column * width
            whole.text(x, 0.55, title, color="#6e9fff", fontsize=7.5, va="center")
            for place, line in enumerate(rows[: int((self.box[3] - 0.75) / 0.24)]):
                value, tint = line.get(name, ""), TEXT
                if isinstance(value, float):
                    told = mapping(override(self.panel, title, "mappings"), value)
                    steps = override(self.panel, title, "thresholds")
                    words, tint = told or (shown(value, override(self.panel, title, "unit")),
                                           threshold(steps["steps"], value) if steps else TEXT)
                    tint = TEXT if tint == COLORS["text"] else tint
                else:
                    words = value
                y = 0.8 + 0.24 * place
                whole.text(x, y, words, fontsize=7.5, va="center", color=tint)
                if column == 0:
                    whole.plot([0.12, self.box[2] - 0.12], [y + 0.12] * 2, color=GRID, linewidth=0.4)
