"""The dashboard of one Canary: where its release stands, and how the canary does beside the primary."""

from parts import (
    BOUND, CANARY, CHECKS, OUTCOMES, PHASES, PRIMARY, annotation, board, closed_row, cluster_variable, choice_variable,
    coded, datasource_variable, graph, grown, heat, label_variable, note, number, number_map, quantile, query, row,
    stepped, timeline,
)

UID = "bellwether-canary"
HERE = 'cluster=~"$cluster",namespace="$namespace",name="$canary"'
ISTIO = 'cluster=~"$cluster",reporter="$reporter",destination_workload_namespace="$namespace"'
BOTH = f'{ISTIO},destination_workload=~"$workload(-primary)?"'
SIDES = {"primary": f'{ISTIO},destination_workload="$workload-primary"',
         "canary": f'{ISTIO},destination_workload="$workload"'}
COLORS = [(".*-primary.*|Primary.*", PRIMARY), ("(?!.*-primary|Primary|Bound|Intended).*", CANARY)]
AT_REST = "nothing is under way: no pod of the canary gets requests"
NOT_HELD = "nothing holds the Canary"
NOT_NOW = "no release ended so in the time that is asked for"
BAD_GRPC = "2|4|12|13|14|15"


def bad(selector):
    """Failed requests, as the checks count them: 5xx and the gRPC statuses that are failures."""
    rate = "rate(istio_requests_total{%s,%s}[$__rate_interval])"
    return " or ".join([
        rate % (selector, 'response_code=~"5.."'),
        rate % (selector, f'response_code!~"5..|0",grpc_response_status=~"{BAD_GRPC}"'),
    ])


def success(selector):
    """Percent of the requests that were answered well; those whose caller went away count neither way."""
    total = f'rate(istio_requests_total{{{selector},response_code!="0"}}[$__rate_interval])'
    return (
        f"100 * (1 - sum by (destination_workload) ({bad(selector)} or {total} * 0) "
        f"/ sum by (destination_workload) ({total}))"
    )


def variables():
    return [
        datasource_variable(),
        cluster_variable(),
        label_variable("namespace", "Namespace", "Namespace of the Canary",
                       'bellwether_canary_status{cluster=~"$cluster"}', "namespace", multi=False),
        label_variable("canary", "Canary", "Name of the Canary",
                       'bellwether_canary_status{cluster=~"$cluster",namespace="$namespace"}', "name", multi=False),
        label_variable("workload", "Workload", "Name of the Deployment; type it if it is not the Canary's",
                       f"bellwether_canary_status{{{HERE}}}", "name", multi=False),
        choice_variable("reporter", "Counted by", "Whose metrics: the called pods' or their callers'",
                        ["destination", "source"]),
        label_variable("check", "Checks", "Metrics of the analysis",
                       f"bellwether_canary_metric_analysis{{{HERE}}}", "metric"),
    ]


def annotations():
    def ended(outcomes):
        series = f'bellwether_releases_total{{{HERE},outcome=~"{outcomes}"}}'
        return f"sum by (outcome) ({grown(series, '$__rate_interval')}) > 0"

    # A verdict stays after the release: the marks end with it.
    failed = (f'max by (metric) (bellwether_canary_check_outcome{{{HERE},outcome="Bad"}}) '
              f"and on () (max(bellwether_canary_status{{{HERE}}}) == 0)")
    return [
        annotation("Revisions", f"max by (name) (bellwether_canary_revision_timestamp_seconds{{{HERE}}}) * 1000",
                   "New revision", "purple", at_value=True),
        annotation("Promoted", ended("Promoted|FastPromoted"), "{{outcome}}", "green", tags="outcome", empty=NOT_NOW),
        annotation("Ended otherwise", ended("RolledBack|Aborted|Superseded|Failed"), "{{outcome}}", "red",
                   tags="outcome", empty=NOT_NOW),
        annotation("Holds", f"max by (reason) (bellwether_canary_held{{{HERE}}})", "Held: {{reason}}", "yellow",
                   tags="reason", empty=NOT_HELD),
        annotation("Failed checks", failed, "Failed check: {{metric}}", "orange", tags="metric",
                   empty="no check failed, or no release is under way"),
    ]


def now(made):
    phase = coded(f"bellwether_canary_phase{{{HERE}", "phase", PHASES, "name")
    held = f"max by (reason) (bellwether_canary_held{{{HERE}}})"
    since = f"time() - min by (name) (bellwether_canary_held_timestamp_seconds{{{HERE}}})"
    return (
        made.with_row(row("Now"))
        .with_panel(number("Phase", "Phase of the Canary, as in its status.", [query(phase)], "none",
                           mappings=number_map(PHASES)))
        .with_panel(number("Weight", "Percent of the traffic that the canary is meant to have.",
                           [query(f"max by (name) (bellwether_canary_weight{{{HERE}}})")], "percent",
                           thresholds=[("text", None), ("blue", 1)], sparkline=True))
        .with_panel(number("Held by", "What holds the release back; docs/operating.md has what each reason means.",
                           [query(held, "{{reason}}", empty=NOT_HELD, instant=True)], "none", width=5, names=True, none="nothing",
                           thresholds=[("yellow", None)]))
        .with_panel(number("Held for", "How long the oldest of the present holds has lasted.",
                           [query(since, empty=NOT_HELD, instant=True)], "s", width=4, none="not held",
                           thresholds=[("text", None), ("yellow", 300), ("red", 3600)]))
        .with_panel(number("Failed checks", "Failed checks of the present release; `threshold` of them roll it back.",
                           [query(f"max by (name) (bellwether_canary_failed_checks{{{HERE}}})")], "none", width=3,
                           thresholds=[("green", None), ("orange", 1)]))
        .with_panel(number("Revision since", "How long ago the present revision was first seen.",
                           [query(f"time() - max by (name) (bellwether_canary_revision_timestamp_seconds{{{HERE}}})")],
                           "s"))
    )


def decisions(made):
    phase = coded(f"bellwether_canary_phase{{{HERE}", "phase", PHASES, "name")
    checks = coded(f"bellwether_canary_check_outcome{{{HERE}", "outcome", CHECKS, "metric")
    requests = "sum(rate(istio_requests_total{%s}[$__rate_interval]))"
    share = f"100 * {requests % SIDES['canary']} / {requests % BOTH}"
    return (
        made.with_row(row("Decisions"))
        .with_panel(graph("Weight: intended and seen",
                          "The share that the release asks for, and the canary's share of the requests that were "
                          "counted. They part when the routes do not shift the traffic.",
                          [query(f"max by (name) (bellwether_canary_weight{{{HERE}}})", "Intended"),
                           query(share, "Seen", empty=AT_REST)],
                          "percent", width=12, minimum=0, soft_max=50, fill=0,
                          colors=[("Intended", "text"), ("Seen", CANARY)]))
        .with_panel(timeline("Outcome of the checks", "How each metric of the analysis was judged last.",
                             [query(checks, "{{metric}}")], number_map(CHECKS), height=8))
        .with_panel(timeline("Phase", "Phase of the Canary over time.", [query(phase, "phase")], number_map(PHASES),
                             height=4))
        .with_panel(timeline("Holds", "Reasons that held the release back, over time.",
                             [query(f"max by (reason) (bellwether_canary_held{{{HERE}}})", "{{reason}}", empty=NOT_HELD)],
                             number_map([("held", "yellow")]), height=4))
        .with_panel(graph("Failed checks", "Failed checks of the present release.",
                          [query(f"max by (name) (bellwether_canary_failed_checks{{{HERE}}})", "failed checks")],
                          "none", width=12, height=6, minimum=0, colors=[("failed", "orange")]))
        .with_panel(graph("Releases that ended", "Outcomes of the Canary's releases, when they ended.",
                          [query(f"sum by (outcome) ({stepped(f'bellwether_releases_total{{{HERE}}}')})",
                                 "{{outcome}}")],
                          "none", width=12, height=6, minimum=0, bars=True, stacked=True,
                          colors=[(f"^{name}$", color) for name, color in OUTCOMES]))
    )


def checks(made):
    values = f'bellwether_canary_metric_analysis{{{HERE},metric=~"$check"}}'
    bounds = f'bellwether_canary_metric_bound{{{HERE},metric=~"$check"}}'
    panel = graph("$check", "Last value of the check in the metric's own unit, and the bounds that it must keep.",
                  [query(f"max by (metric) ({values})", "{{metric}}"),
                   query(f"max by (metric, bound) ({bounds})", "Bound ({{bound}})")],
                  "short", width=12, fill=0, colors=[("Bound.*", BOUND), ("(?!Bound).*", CANARY)])
    return made.with_row(row("Checks against their bounds")).with_panel(
        panel.repeat("check").repeat_direction("h").max_per_row(2))


def latency(q, label):
    buckets = f"istio_request_duration_milliseconds_bucket{{{BOTH}}}"
    return graph(f"Latency {label}", f"Duration that {label[1:]} % of the requests keep, from the histogram's buckets.",
                 [query(quantile(q, buckets, ", destination_workload"), "{{destination_workload}}")],
                 "ms", minimum=0, colors=COLORS)


def traffic(made):
    by = "sum by (destination_workload%s) (rate(istio_requests_total{%s}[$__rate_interval]))"
    codes = by % (", response_code", BOTH)
    made = (
        made.with_row(row("Primary against canary"))
        .with_panel(graph("Requests", "Requests a second to each side.",
                          [query(by % ("", BOTH), "{{destination_workload}}")], "reqps", minimum=0, colors=COLORS))
        .with_panel(graph("Success rate", "Requests that did not fail. Failed are 5xx and the gRPC statuses 2, 4, 12, 13, "
                          "14 and 15; a caller that went away counts neither way. Gaps are times without requests.",
                          [query(success(BOTH), "{{destination_workload}}")], "percent", maximum=100, fill=0,
                          colors=COLORS))
        .with_panel(graph("Responses by code", "Requests a second by side and response code; 0 is a caller that went away.",
                          [query(codes, "{{destination_workload}} {{response_code}}")], "reqps", minimum=0, fill=0))
    )
    for q, label in [("0.5", "p50"), ("0.9", "p90"), ("0.99", "p99")]:
        made = made.with_panel(latency(q, label))
    for side, selector in SIDES.items():
        made = made.with_panel(heat(f"Durations at the {side}", f"How many requests to the {side} took how long.",
                                    f"istio_request_duration_milliseconds_bucket{{{selector}}}", "ms"))
    return made


def saturation():
    """Panels of what the cluster's own exporters tell, which may not be there."""
    why = "cAdvisor's or kube-state-metrics' series may not be there"
    pods = {"Primary": "$workload-primary-[a-z0-9]+-[a-z0-9]+", "Canary": "$workload-[a-z0-9]+-[a-z0-9]+"}

    def sides(form):
        scope = 'cluster=~"$cluster",namespace="$namespace",pod=~"%s"'
        return [query(form.replace("HERE", scope % pod), side, empty=why) for side, pod in pods.items()]

    panel = {"width": 8, "height": 8, "minimum": 0, "colors": COLORS}
    used = 'sum(rate(container_cpu_usage_seconds_total{HERE,container!="",container!="POD"}[$__rate_interval]))'
    held = 'sum(container_memory_working_set_bytes{HERE,container!="",container!="POD"})'
    limit = 'sum(kube_pod_container_resource_limits{HERE,resource="%s"})'
    throttled = (
        "100 * sum(rate(container_cpu_cfs_throttled_periods_total{HERE}[$__rate_interval])) "
        "/ sum(rate(container_cpu_cfs_periods_total{HERE}[$__rate_interval]))"
    )
    return closed_row(
        "Saturation (needs cAdvisor and kube-state-metrics)",
        note("These panels read series of **cAdvisor** (`container_*`) and **kube-state-metrics** (`kube_*`). Where one of "
             "the two is not scraped they stay empty; Bellwether does not need them."),
        graph("CPU of its limit", "CPU that all pods of a side use, of the limits of all their containers.",
              sides(f"100 * {used} / {limit % 'cpu'}"), "percent", **panel),
        graph("Memory of its limit", "Working set of all pods of a side, of the limits of all their containers.",
              sides(f"100 * {held} / {limit % 'memory'}"), "percent", **panel),
        graph("CPU throttled", "Scheduling periods in which a container was stopped at its CPU limit.", sides(throttled),
              "percent", **panel),
        graph("CPU used", "CPU seconds a second that all pods of a side use.", sides(used), "short", **panel),
        graph("Pods ready", "Pods of a side that are ready.",
              sides('sum(kube_pod_status_ready{HERE,condition="true"})'), "none", **panel),
        graph("Restarts", "Restarts of containers in the last ten minutes.",
              sides("sum(increase(kube_pod_container_status_restarts_total{HERE}[10m]))"), "none", **panel),
    )


def dashboard():
    made = board("Bellwether / Canary", UID, "One Canary: its release, its checks, and the canary beside the primary",
                 variables(), annotations())
    for part in [now, decisions, checks, traffic]:
        made = part(made)
    return made.with_row(saturation())
