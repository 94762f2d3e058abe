"""What the dashboards are built of: queries, variables, annotations and panels, with one look.

Every panel has a description and a unit. A query that may rightly have no data says why; `expressions.py` reads that.
"""

from grafana_foundation_sdk.builders import bargauge, common, dashboard, heatmap, prometheus, stat, statetimeline, table
from grafana_foundation_sdk.builders import text, timeseries
from grafana_foundation_sdk.models import common as cm
from grafana_foundation_sdk.models import dashboard as dm
from grafana_foundation_sdk.models import heatmap as hm
from grafana_foundation_sdk.models import prometheus as pm
from grafana_foundation_sdk.models import text as tm

SOURCE = dm.DataSourceRef(type_val="prometheus", uid="${datasource}")
ALL = dm.VariableOption(selected=True, text="All", value="$__all")
TAG = "bellwether"

# The same colour means the same on every panel.
PRIMARY, CANARY, BOUND = "blue", "orange", "red"
PHASES = [
    ("Initializing", "text"), ("Initialized", "super-light-green"), ("Waiting", "purple"),
    ("Progressing", "blue"), ("WaitingPromotion", "purple"), ("Promoting", "light-blue"), ("Finalising", "super-light-blue"),
    ("Succeeded", "green"), ("Failed", "red"), ("Terminating", "text"),
]
OUTCOMES = [
    ("Promoted", "green"), ("FastPromoted", "light-green"), ("RolledBack", "red"), ("Aborted", "orange"),
    ("Superseded", "blue"), ("Failed", "dark-red"),
]
CHECKS = [("Pass", "green"), ("NoData", "yellow"), ("Error", "orange"), ("Bad", "red")]

#: Expressions that may have no data, and why.
WHY: dict[str, str] = {}


# === PromQL ===


def grown(series, window):
    """By how much a counter grew in `window`, counting from nothing for a series that was not there before it.

    `increase` alone does not see the first event of a series that is born with the value 1.
    """
    return f"(({series} unless {series} offset {window}) or increase({series}[{window}]))"


def stepped(series):
    """By how much a counter grew since the point of the graph before: every event is in one point, and is a whole one.

    `increase` guesses beyond its samples, and needs two of them in an interval that may be as short as a scrape.
    """
    return f"clamp_min({series} - ({series} offset $__interval or {series} * 0), 0)"


def coded(series, label, names, by):
    """The place of the one value of `label` in `names`, from 1 on: a state timeline draws numbers."""
    sep = "" if series.endswith("{") else ","
    each = [f'{series}{sep}{label}="{name}"}} * {place}' for place, (name, _) in enumerate(names, 1)]
    return f"max by ({by}) ({' or '.join(each)})"


def quantile(q, series, by="", window="$__rate_interval"):
    """A quantile of a histogram; `series` is its buckets."""
    return f"histogram_quantile({q}, sum by (le{by}) (rate({series}[{window}])))"


def query(expr, legend="", empty=None, instant=False, form=None):
    """One query of a panel. `empty` says why it may have no data."""
    if empty:
        WHY[expr] = empty
    made = prometheus.Dataquery().expr(expr).datasource(SOURCE).editor_mode(pm.QueryEditorMode.CODE)
    made = made.legend_format(legend or "__auto")
    made = made.instant() if instant else made.range()
    return made.format(form) if form else made


def table_query(expr, empty=None):
    return query(expr, empty=empty, instant=True, form=pm.PromQueryFormat.TABLE)


# === variables ===


def datasource_variable():
    return (
        dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
        .description("Prometheus, or what speaks its HTTP API, with the metrics of Bellwether and of Istio")
    )


def label_variable(name, label, description, series, of, multi=True):
    """A variable with the values of a label. `.*` for all of them: a label that is not there matches as well."""
    made = (
        dashboard.QueryVariable(name).label(label).description(description).datasource(SOURCE)
        .query({"query": f"label_values({series}, {of})", "refId": f"Variable-{name}"})
        .refresh(dm.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(dm.VariableSort.ALPHABETICAL_ASC)
        .multi(multi).include_all(multi).allow_custom_value(True)
    )
    return made.all_value(".*").current(ALL) if multi else made


def cluster_variable():
    return label_variable(
        "cluster", "Cluster", "Label `cluster`; leave All where the series have no such label",
        "bellwether_build_info", "cluster",
    )


def choice_variable(name, label, description, values):
    options = [dm.VariableOption(selected=i == 0, text=value, value=value) for i, value in enumerate(values)]
    return (
        dashboard.CustomVariable(name).label(label).description(description).values(",".join(values))
        .options(options).current(options[0]).multi(False).include_all(False)
    )


# === annotations ===


class Event(dm.AnnotationQuery):
    """An annotation of the Prometheus data source, with the fields that the SDK's model does not know."""

    FIELDS = ("titleFormat", "tagKeys", "textFormat", "useValueForTime")

    def __init__(self, title, tags, at_value, **known):
        super().__init__(**known)
        self.more = {"titleFormat": title, "tagKeys": tags, "textFormat": ""}
        if at_value:
            self.more["useValueForTime"] = True

    def to_json(self):
        return super().to_json() | self.more


class annotation(dashboard.AnnotationQuery):
    """Marks when `expr` is above zero or, with `at_value`, the times in milliseconds that are its values."""

    def __init__(self, name, expr, title, color, tags="", at_value=False, empty=None):
        super().__init__()
        if empty:
            WHY[expr] = empty
        self._internal = Event(
            title, tags, at_value, name=name, expr=expr, icon_color=color, datasource=SOURCE, enable=True, hide=False,
        )


# === panels ===


def number_map(names):
    """Text and colour of the numbers that `coded` makes."""
    options = {
        str(place): dm.ValueMappingResult(text=name, color=color, index=place - 1)
        for place, (name, color) in enumerate(names, 1)
    }
    return [dm.ValueMap(options=options)]


def steps(*pairs):
    """Thresholds: `("green", None), ("red", 80)`."""
    return (
        dashboard.ThresholdsConfig().mode(dm.ThresholdsMode.ABSOLUTE)
        .steps([dm.Threshold(color=color, value=value) for color, value in pairs])
    )


PLAIN = [("text", None)]


def fixed(color):
    return [dm.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": color})]


def placed(panel, title, description, queries, width, height):
    panel = panel.title(title).description(description).datasource(SOURCE).span(width).height(height)
    for place, made in enumerate(queries):
        panel = panel.with_target(made.ref_id(chr(ord("A") + place)))
    return panel


def graph(title, description, queries, unit, width=8, height=8, colors=(), soft_max=None, minimum=None, maximum=None,
          stacked=False, bars=False, fill=8, points=False, legend="list", calcs=()):
    """Lines, or bars, over time. `colors` are pairs of a regex of the series' names and a colour."""
    panel = placed(timeseries.Panel(), title, description, queries, width, height).unit(unit)
    mode = cm.LegendDisplayMode.TABLE if legend == "table" else cm.LegendDisplayMode.LIST
    place = cm.LegendPlacement.RIGHT if legend == "table" else cm.LegendPlacement.BOTTOM
    panel = (
        panel.line_width(1).fill_opacity(70 if bars else 25 if stacked else fill).point_size(4)
        .show_points(cm.VisibilityMode.ALWAYS if points else cm.VisibilityMode.AUTO)
        .draw_style(cm.GraphDrawStyle.BARS if bars else cm.GraphDrawStyle.LINE)
        .legend(common.VizLegendOptions().display_mode(mode).placement(place).show_legend(True).calcs(list(calcs)))
        .tooltip(common.VizTooltipOptions().mode(cm.TooltipDisplayMode.MULTI).sort(cm.SortOrder.DESCENDING))
    )
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(cm.StackingMode.NORMAL).group("A"))
    if soft_max is not None:
        panel = panel.axis_soft_max(soft_max)
    if minimum is not None:
        panel = panel.min(minimum)
    if maximum is not None:
        panel = panel.max(maximum)
    for pattern, color in colors:
        panel = panel.override_by_regexp(f"/{pattern}/", fixed(color))
    return panel


def number(title, description, queries, unit, width=4, height=4, thresholds=PLAIN, mappings=None, names=False,
           none="none", decimals=None, sparkline=False):
    """One large value, or the names of the series."""
    panel = (
        placed(stat.Panel(), title, description, queries, width, height).unit(unit).no_value(none)
        .thresholds(steps(*thresholds)).color_mode(cm.BigValueColorMode.VALUE)
        .graph_mode(cm.BigValueGraphMode.AREA if sparkline else cm.BigValueGraphMode.NONE)
        .text_mode(cm.BigValueTextMode.NAME if names else cm.BigValueTextMode.AUTO)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    )
    if mappings:
        panel = panel.mappings(mappings)
    return panel if decimals is None else panel.decimals(decimals)


def timeline(title, description, queries, mappings, width=12, height=6):
    """States over time, one line for each series."""
    return (
        placed(statetimeline.Panel(), title, description, queries, width, height).unit("none").mappings(mappings)
        .merge_values(True).show_value(cm.VisibilityMode.AUTO).row_height(0.85).line_width(0).fill_opacity(80)
        .thresholds(steps(*PLAIN)).no_value("none")
        .legend(common.VizLegendOptions().show_legend(False).display_mode(cm.LegendDisplayMode.LIST)
                .placement(cm.LegendPlacement.BOTTOM))
    )


def heat(title, description, buckets, unit, width=12, height=8):
    """Buckets of a histogram over time."""
    made = query(f"sum by (le) (increase({buckets}[$__rate_interval]))", "{{le}}", form=pm.PromQueryFormat.HEATMAP)
    return (
        placed(heatmap.Panel(), title, description, [made], width, height).calculate(False).cell_gap(1)
        .y_axis(heatmap.YAxisConfig().unit(unit).axis_placement(cm.AxisPlacement.LEFT).reverse(False))
        .rows_frame(heatmap.RowsHeatmapOptions().layout(cm.HeatmapCellLayout.AUTO))
        .cell_values(heatmap.CellValues().unit("short").decimals(0))
        .color(heatmap.HeatmapColorOptions().mode(hm.HeatmapColorMode.SCHEME).scheme("Oranges").fill("dark-orange")
               .scale(hm.HeatmapColorScale.EXPONENTIAL).exponent(0.5).steps(64).reverse(False))
        .filter_values(heatmap.FilterValueRange().le(1e-9)).show_color_scale(True)
        .mode(cm.TooltipDisplayMode.SINGLE)
    )


def bars(title, description, queries, unit, width=8, height=8, colors=(), thresholds=PLAIN):
    """The last value of each series as a bar."""
    panel = (
        placed(bargauge.Panel(), title, description, queries, width, height).unit(unit).min(0).no_value("none")
        .orientation(cm.VizOrientation.HORIZONTAL).display_mode(cm.BarGaugeDisplayMode.GRADIENT)
        .thresholds(steps(*thresholds)).value_mode(cm.BarGaugeValueMode.COLOR).show_unfilled(True)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    )
    for pattern, color in colors:
        panel = panel.override_by_regexp(f"/{pattern}/", fixed(color))
    return panel


def rows(title, description, queries, columns, width=12, height=9, sort=None):
    """A table of instant queries, joined by their labels. `columns`: field, title, unit, further properties."""
    panel = (
        placed(table.Panel(), title, description, queries, width, height).no_value("none").unit("none")
        .align(cm.FieldTextAlignment.AUTO).inspect(False).show_header(True).cell_height(cm.TableCellHeight.SM).thresholds(steps(*PLAIN))
        .with_transformation(dm.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(dm.DataTransformerConfig(id_val="organize", options={
            "excludeByName": {"Time": True},
            "indexByName": {field: place for place, (field, *_) in enumerate(columns)},
            "renameByName": {field: name for field, name, *_ in columns},
        }))
    )
    for _, name, unit, *more in columns:
        properties = [dm.DynamicConfigValue(id_val="unit", value=unit)] if unit else []
        panel = panel.override_by_name(name, properties + [p for ps in more for p in ps])
    if sort:
        panel = panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(True)])
    return panel


def colored(*pairs):
    """Properties of a column whose numbers are coloured by thresholds."""
    return [
        dm.DynamicConfigValue(id_val="thresholds", value={
            "mode": "absolute", "steps": [{"color": color, "value": value} for color, value in pairs]}),
        dm.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}),
    ]


def linked(title, url):
    """Properties of a column that leads somewhere."""
    return [dm.DynamicConfigValue(id_val="links", value=[{"title": title, "url": url, "targetBlank": False}])]


def mapped(names):
    """Properties of a column of numbers that `coded` made."""
    return [
        dm.DynamicConfigValue(id_val="mappings", value=[m.to_json() for m in number_map(names)]),
        dm.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}),
    ]


def note(content, width=24, height=3):
    return (
        text.Panel().title("").description("What this row needs").mode(tm.TextMode.MARKDOWN).content(content)
        .span(width).height(height).transparent(True)
    )


def row(title):
    return dashboard.Row(title).collapsed(False)


def closed_row(title, *panels):
    made = dashboard.Row(title).collapsed(True)
    for panel in panels:
        made = made.with_panel(panel)
    return made


def board(title, uid, description, variables, annotations=(), since="now-1h", refresh="30s"):
    made = (
        dashboard.Dashboard(title).uid(uid).description(description).tags([TAG]).timezone("browser").editable()
        .tooltip(dm.DashboardCursorSync.CROSSHAIR).time(since, "now").refresh(refresh)
        .link(dashboard.DashboardLink("Bellwether").type(dm.DashboardLinkType.DASHBOARDS).tags([TAG])
              .include_vars(False).keep_time(True).icon("external link"))
    )
    for variable in variables:
        made = made.with_variable(variable)
    for mark in annotations:
        made = made.annotation(mark)
    return made
