"""The dashboard of the controller itself: who leads, how its rounds go, what it asks of others, what it costs."""

from parts import (
    bars, board, cluster_variable, datasource_variable, graph, heat, label_variable, number, number_map, quantile, query,
    row, timeline,
)

UID = "bellwether-controller"
HERE = 'cluster=~"$cluster",job=~"$job"'
NO_ERRORS = "nothing failed: such a series is born with the first failure"
NO_SINKS = "no sink of events is configured"
NO_HOOK = "nobody called the hook API"
LANES = [("(?i)urgent.*", "red"), ("(?i)routine.*", "blue")]


def rate(series, by, more=""):
    return f"sum by ({by}) (rate({series}{{{HERE}{more}}}[$__rate_interval]))"


def ours(series):
    """A series that every process has, of the controller's processes alone."""
    return f"{series} and on (cluster, job, instance) bellwether_build_info{{{HERE}}}"


def variables():
    return [
        datasource_variable(),
        cluster_variable(),
        label_variable("job", "Job", "Job that scrapes the controller", 'bellwether_build_info{cluster=~"$cluster"}', "job"),
    ]


def now(made):
    started = ours(f"process_start_time_seconds{{{HERE}}}")
    return (
        made.with_row(row("Now"))
        .with_panel(number("Leaders", "Replicas that decide. Right is one for each controller.",
                           [query(f"sum(bellwether_leader{{{HERE}}})")], "none", width=3,
                           thresholds=[("red", None), ("green", 1)]))
        .with_panel(number("Replicas", "Replicas that are scraped.", [query(f"count(bellwether_build_info{{{HERE}}})")],
                           "none", width=3))
        .with_panel(number("Version", "Versions that run.",
                           [query(f"count by (version) (bellwether_build_info{{{HERE}}})", "{{version}}", instant=True)],
                           "none", names=True))
        .with_panel(number("Canaries", "Canaries that the controller knows.",
                           [query(f"max(bellwether_canaries{{{HERE}}})")], "none", width=3))
        .with_panel(number("Running for", "Since when the youngest replica runs.",
                           [query(f"time() - max({started})")], "s"))
        .with_panel(number("Failed rounds", "Rounds a second that end with an error.",
                           [query(f"sum(rate(bellwether_reconcile_errors_total{{{HERE}}}[$__rate_interval])) or vector(0)")],
                           "ops", decimals=3, thresholds=[("green", None), ("yellow", 0.01), ("red", 0.1)]))
        .with_panel(number("Writes refused", "Writes a second that the API server refuses for good.",
                           [query(f"sum(rate(bellwether_writes_refused_total{{{HERE}}}[$__rate_interval])) or vector(0)")],
                           "ops", width=3, decimals=3, thresholds=[("green", None), ("red", 0.001)]))
        .with_panel(timeline("Leader", "Which replica decides.",
                             [query(f"max by (instance) (bellwether_leader{{{HERE}}}) + 1", "{{instance}}")],
                             number_map([("waits", "text"), ("leads", "green")]), width=24, height=5))
    )


def rounds(made):
    buckets = f"bellwether_reconcile_duration_seconds_bucket{{{HERE}}}"
    return (
        made.with_row(row("Rounds"))
        .with_panel(graph("Rounds", "Rounds a second. At rest there are none.",
                          [query(rate("bellwether_reconcile_rounds_total", "instance"), "{{instance}}")], "ops", width=6,
                          minimum=0))
        .with_panel(graph("Errors", "Rounds a second that end with an error, by reason. Conflict and Stale are tried again "
                          "and cost nothing; NoProgress and Panicked are defects.",
                          [query(rate("bellwether_reconcile_errors_total", "reason"), "{{reason}}", empty=NO_ERRORS)],
                          "ops", width=6, minimum=0, stacked=True))
        .with_panel(graph("Duration of a round", "From taking a Canary off the queue to the end of its round.",
                          [query(quantile(q, buckets), f"p{label}") for q, label in [("0.5", 50), ("0.9", 90), ("0.99", 99)]],
                          "s", width=6, minimum=0, fill=0))
        .with_panel(heat("Durations of rounds", "How many rounds took how long.", buckets, "s", width=6))
    )


def queue(made):
    buckets = f"bellwether_queue_wait_seconds_bucket{{{HERE}}}"
    waits = [query(quantile(q, buckets, ", lane"), "{{lane}} " + label) for q, label in [("0.5", "p50"), ("0.99", "p99")]]
    return (
        made.with_row(row("Queue"))
        .with_panel(graph("Depth by lane", "Canaries that wait for a round. In the urgent lane traffic is at risk.",
                          [query(f"sum by (lane) (bellwether_queue_depth{{{HERE}}})", "{{lane}}")], "none", width=12,
                          minimum=0, colors=LANES))
        .with_panel(graph("Wait by lane", "How long a Canary that is due waits for its round.", waits, "s", width=12,
                          minimum=0, fill=0))
    )


def api(made):
    buckets = f"bellwether_api_request_duration_seconds_bucket{{{HERE}}}"
    return (
        made.with_row(row("Kubernetes API"))
        .with_panel(graph("Requests by verb and kind", "Requests a second to the API server.",
                          [query(rate("bellwether_api_requests_total", "verb, kind"), "{{verb}} {{kind}}")], "reqps",
                          width=12, minimum=0, stacked=True, legend="table", calcs=["mean"]))
        .with_panel(graph("Requests that failed, by code", "Requests a second that were not answered with 2xx. 409 is a "
                          "conflict, which is tried again; 429 is the API server's own limit.",
                          [query(rate("bellwether_api_requests_total", "code", ',code!~"2.."'), "{{code}}",
                                 empty=NO_ERRORS)], "reqps", width=6, minimum=0, stacked=True))
        .with_panel(graph("Duration p99 by verb", "How long the API server takes to answer.",
                          [query(quantile("0.99", buckets, ", verb"), "{{verb}}")], "s", width=6, minimum=0, fill=0))
        .with_panel(graph("Writes", "Writes a second that were done, by act. At rest there are none.",
                          [query(rate("bellwether_writes_total", "act"), "{{act}}")], "ops", width=12, minimum=0,
                          stacked=True, legend="table", calcs=["mean"]))
        .with_panel(graph("Writes refused", "Writes a second that a policy, a quota, a webhook or a missing right refuses, "
                          "by act.", [query(rate("bellwether_writes_refused_total", "act"), "{{act}}", empty=NO_ERRORS)],
                          "ops", width=12, minimum=0, stacked=True))
    )


def watches(made):
    last = f"time() - max by (kind) (bellwether_watch_last_event_timestamp_seconds{{{HERE}}})"
    return (
        made.with_row(row("Watches"))
        .with_panel(graph("Failures by kind", "Watches a second that failed; each is begun anew.",
                          [query(rate("bellwether_watch_failures_total", "kind"), "{{kind}}", empty=NO_ERRORS)], "ops",
                          width=12, minimum=0, stacked=True))
        .with_panel(bars("Last event by kind", "How long ago a watch brought something. A kind that nobody changes is quiet; "
                         "it matters where failures come with it.", [query(last, "{{kind}}", instant=True)], "s", width=12))
    )


def hook(made):
    buckets = f"bellwether_hook_request_duration_seconds_bucket{{{HERE}}}"
    return (
        made.with_row(row("Hook API"))
        .with_panel(graph("Requests by route", "Requests a second of pipelines.",
                          [query(rate("bellwether_hook_requests_total", "route"), "{{route}}", empty=NO_HOOK)], "reqps",
                          minimum=0, stacked=True))
        .with_panel(graph("Requests by code", "4xx is for the caller to mend, 5xx for us.",
                          [query(rate("bellwether_hook_requests_total", "code"), "{{code}}", empty=NO_HOOK)], "reqps",
                          minimum=0, stacked=True, colors=[("2..", "green"), ("4..", "yellow"), ("5..", "red")]))
        .with_panel(graph("Duration p99 by route", "How long an answer takes; a wait for a verdict is long by design.",
                          [query(quantile("0.99", buckets, ", route"), "{{route}}", empty=NO_HOOK)], "s", minimum=0,
                          fill=0))
    )


def sinks(made):
    told = query(rate("bellwether_sink_told_total", "sink"), "{{sink}}")
    waiting = query(f"max by (sink) (bellwether_sink_waiting{{{HERE}}})", "{{sink}}", empty=NO_SINKS)
    fails = query(rate("bellwether_sink_failures_total", "sink, reason"), "{{sink}} {{reason}}", empty=NO_ERRORS)
    lost = query(rate("bellwether_sink_given_up_total", "sink, reason"), "{{sink}} {{reason}}", empty=NO_ERRORS)
    events = query(f"sum(rate(bellwether_event_failures_total{{{HERE}}}[$__rate_interval]))", "Kubernetes Events")
    return (
        made.with_row(row("Events and sinks"))
        .with_panel(graph("Facts told", "Facts a second that a sink took.", [told], "ops", width=6, minimum=0))
        .with_panel(graph("Facts that wait", "Facts that a sink has not taken yet.", [waiting], "none", width=6, minimum=0))
        .with_panel(graph("Failed tries", "Tries a second to tell a fact, or to publish an Event, that failed.",
                          [fails, events], "ops", width=6, minimum=0))
        .with_panel(graph("Given up", "Facts a second that a sink will never be told.", [lost], "ops", width=6, minimum=0))
    )


def process(made):
    cpu = ours(f"rate(process_cpu_seconds_total{{{HERE}}}[$__rate_interval])")
    rss = ours(f"process_resident_memory_bytes{{{HERE}}}")
    return (
        made.with_row(row("Process"))
        .with_panel(graph("CPU", "CPU seconds a second.", [query(cpu, "{{instance}}")], "short", width=12, minimum=0))
        .with_panel(graph("Memory", "Resident memory.", [query(rss, "{{instance}}")], "bytes", width=12, minimum=0))
    )


def dashboard():
    made = board("Bellwether / Controller", UID, "The controller: leader, rounds, queue, API, watches, hook, sinks, cost",
                 variables())
    for part in [now, rounds, queue, api, watches, hook, sinks, process]:
        made = part(made)
    return made
