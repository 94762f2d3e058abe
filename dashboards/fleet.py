"""The dashboard of all Canaries: what is held, how releases end, how long they take, what is under way."""

from parts import (
    OUTCOMES, PHASES, bars, board, choice_variable, cluster_variable, coded, colored, datasource_variable, graph, grown,
    label_variable, linked, mapped, number, query, row, rows, stepped, table_query,
)

UID = "bellwether-fleet"
HERE = 'cluster=~"$cluster",namespace=~"$namespace",name=~"$canary"'
SPACE = 'cluster=~"$cluster",namespace=~"$namespace"'
BY = "cluster, namespace, name"
GOOD, LOST = "Promoted|FastPromoted", "RolledBack|Failed"
PEOPLE = "AwaitingApproval|AwaitingJob|Paused|Frozen"
NOT_HELD = "no Canary is held"
AT_REST = "no release is under way"
NONE_LOST = "no release was rolled back or failed in the window"
NONE_ENDED = "no release ended in the window"
TO_CANARY = (
    "/d/bellwether-canary?var-datasource=${datasource}&var-namespace=${__data.fields.Namespace}"
    "&var-canary=${__data.fields.Canary}&${cluster:queryparam}&${__url_time_range}"
)


def ended(outcomes, window="$window"):
    """Releases that ended so in the window."""
    return grown(f'bellwether_releases_total{{{HERE},outcome=~"{outcomes}"}}', window)


def lead(q, outcomes=GOOD, window="$window"):
    """How long releases took, from when the revision was first seen."""
    buckets = f'bellwether_release_duration_seconds_bucket{{{SPACE},outcome=~"{outcomes}"}}'
    return f"histogram_quantile({q}, sum by (le) ({grown(buckets, window)}))"


def variables():
    return [
        datasource_variable(),
        cluster_variable(),
        label_variable("namespace", "Namespace", "Namespaces of Canaries",
                       'bellwether_canary_status{cluster=~"$cluster"}', "namespace"),
        label_variable("canary", "Canary", "Names of Canaries", f"bellwether_canary_status{{{SPACE}}}", "name"),
        choice_variable("window", "Window", "How far back outcomes and lead times are counted",
                        ["1d", "1h", "6h", "7d", "30d"]),
    ]


def ratio(window):
    return f"100 * (sum({ended(LOST, window)}) or vector(0)) / sum({ended('.+', window)})"


def now(made):
    status = f"max by ({BY}) (bellwether_canary_status{{{HERE}}})"

    def count(title, description, expr, color):
        return number(title, description, [query(f"count({expr}) or vector(0)")], "none", width=3,
                      thresholds=[("text", None), (color, 1)])

    held = f'max by ({BY}) (bellwether_canary_held{{{HERE},reason%s"{PEOPLE}|Suspended"}})'
    since = f"time() - min by ({BY}, reason) (bellwether_canary_held_timestamp_seconds{{{HERE}}})"
    phases = f"count by (phase) (max by ({BY}, phase) (bellwether_canary_phase{{{HERE}}}))"
    return (
        made.with_row(row("Now"))
        .with_panel(count("Canaries", "Canaries that the controller knows.", status, "text"))
        .with_panel(count("Under way", "Canaries whose phase is not one of rest.", f"{status} == 0", "blue"))
        .with_panel(count("Failed", "Canaries whose last release was rolled back or failed.", f"{status} == 2", "red"))
        .with_panel(count("Held by a fault", "Canaries that are held by something that nobody ordered.", held % "!~",
                          "orange"))
        .with_panel(count("Held by people", "Canaries that wait for an approval or a job, or are paused, frozen or "
                          "suspended.", held % "=~", "purple"))
        .with_panel(number("Ended in the window", "Releases that ended, however.",
                           [query(f"sum({ended('.+')}) or vector(0)", instant=True)], "none", width=3, decimals=0))
        .with_panel(number("Lost in the window", "Releases that were rolled back or could not be promoted, of all that ended.",
                           [query(ratio("$window"), empty=NONE_ENDED, instant=True)], "percent", width=3, decimals=1,
                           thresholds=[("green", None), ("yellow", 15), ("red", 30)]))
        .with_panel(number("Lead time p50", "From a revision being seen to its promotion, in the window: half are faster. It is counted by "
                           "namespace: the choice of Canaries does not matter here.",
                           [query(lead("0.5"), empty="no release was promoted in the window", instant=True)], "s",
                           width=3))
        .with_panel(rows("What is held, and for how long", "Every hold of every Canary; the oldest come first. "
                         "docs/operating.md has what each reason means.", [table_query(since, NOT_HELD)],
                         [("cluster", "Cluster", None), ("namespace", "Namespace", None),
                          ("name", "Canary", None, linked("The Canary's dashboard", TO_CANARY)),
                          ("reason", "Reason", None),
                          ("Value", "Held for", "s", colored(("text", None), ("yellow", 300), ("red", 3600)))],
                         width=14, sort="Held for"))
        .with_panel(graph("Phases", "Canaries by phase.", [query(phases, "{{phase}}")], "none", width=10, height=9,
                          stacked=True, minimum=0, colors=[(f"^{name}$", color) for name, color in PHASES]))
        .with_panel(graph("Held over time", "Canaries that are held, by reason.",
                          [query(f"count by (reason) (max by ({BY}, reason) (bellwether_canary_held{{{HERE}}}))",
                                 "{{reason}}", empty=NOT_HELD)], "none", width=14, height=7, stacked=True, minimum=0))
        .with_panel(graph("Longest hold by a fault", "How long the oldest hold that nobody ordered has lasted, by reason.",
                          [query(f'max by (reason) (time() - bellwether_canary_held_timestamp_seconds{{{HERE},'
                                 f'reason!~"{PEOPLE}|Suspended"}})', "{{reason}}", empty=NOT_HELD)],
                          "s", width=10, height=7, minimum=0))
    )


def releases(made):
    colors = [(f"^{name}$", color) for name, color in OUTCOMES]
    quantiles = [query(lead(q), label, empty="no release was promoted in the window")
                 for q, label in [("0.5", "p50"), ("0.9", "p90"), ("0.99", "p99")]]
    return (
        made.with_row(row("Releases"))
        .with_panel(graph("Outcomes", "Releases that ended, by outcome, in each interval of the graph.",
                          [query(f"sum by (outcome) ({stepped(f'bellwether_releases_total{{{HERE}}}')})",
                                 "{{outcome}}")], "none", width=14, stacked=True, bars=True, minimum=0, colors=colors))
        .with_panel(bars("Outcomes in the window", "Releases that ended in the window, by outcome.",
                         [query(f"sum by (outcome) ({ended('.+')})", "{{outcome}}", instant=True)], "none", width=10,
                         colors=colors))
        .with_panel(graph("Lead time", "From a revision being seen to its promotion, over the window before each point, by namespace: "
                          "the choice of Canaries does not matter here.",
                          quantiles, "s", width=14, minimum=0, fill=0,
                          colors=[("p50", "green"), ("p90", "yellow"), ("p99", "red")]))
        .with_panel(graph("How long a lost release takes", "From a revision being seen to the end of its rollback, over the "
                          "window before each point, by namespace.", [query(lead("0.5", LOST), "p50", empty=NONE_LOST),
                                                        query(lead("0.9", LOST), "p90", empty=NONE_LOST)],
                          "s", width=10, minimum=0, fill=0, colors=[("p50", "orange"), ("p90", "red")]))
        .with_panel(graph("Lost releases", "Percent of the releases that were rolled back or could not be promoted, over "
                          "the window before each point.", [query(ratio("$window"), "lost", empty=NONE_ENDED)], "percent",
                          width=14, minimum=0, soft_max=100, colors=[("lost", "red")]))
        .with_panel(rows("Who loses most", "Canaries with the most lost releases in the window.",
                         [table_query(f"topk(20, sum by ({BY}) ({ended(LOST)}) > 0)", NONE_LOST)],
                         [("cluster", "Cluster", None), ("namespace", "Namespace", None),
                          ("name", "Canary", None, linked("The Canary's dashboard", TO_CANARY)),
                          ("Value", "Lost", "none")], width=10, height=8, sort="Lost"))
    )


def under_way(made):
    busy = f"on ({BY}) (max by ({BY}) (bellwether_canary_status{{{HERE}}}) == 0)"
    weight = f"max by ({BY}) (bellwether_canary_weight{{{HERE}}}) and {busy}"
    phase = f"{coded(f'bellwether_canary_phase{{{HERE}', 'phase', PHASES, BY)} and {busy}"
    age = f"time() - max by ({BY}) (bellwether_canary_revision_timestamp_seconds{{{HERE}}}) and {busy}"
    return (
        made.with_row(row("Under way"))
        .with_panel(graph("Weights", "Percent of the traffic that each canary is meant to have, while a release is under "
                          "way.", [query(weight, "{{namespace}}/{{name}}", empty=AT_REST)], "percent", width=12, height=9,
                          minimum=0, soft_max=50, fill=0))
        .with_panel(rows("Releases under way", "Every release under way, the oldest first.",
                         [table_query(phase, AT_REST), table_query(weight, AT_REST), table_query(age, AT_REST)],
                         [("cluster", "Cluster", None), ("namespace", "Namespace", None),
                          ("name", "Canary", None, linked("The Canary's dashboard", TO_CANARY)),
                          ("Value #A", "Phase", None, mapped(PHASES)), ("Value #B", "Weight", "percent"),
                          ("Value #C", "Revision since", "s")], width=12, height=9, sort="Revision since"))
    )


def dashboard():
    made = board("Bellwether / Fleet", UID, "All Canaries: holds, outcomes, lead times, what is under way", variables(),
                 since="now-24h", refresh="1m")
    for part in [now, releases, under_way]:
        made = part(made)
    return made
