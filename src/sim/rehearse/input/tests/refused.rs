use super::*;

#[test]
fn what_cannot_be_used_is_named() {
    let typo = CANARY.replace("stepWeight:", "stepWieght:");
    let soon = CANARY.replace("1m", "soon");
    let kind = SHOP.replace("kind: Service\n", "kind: Servise\n");
    for (texts, named) in [
        (vec![SHOP], "no Canary"),
        (vec![CANARY, CANARY], "second Canary"),
        (vec![typo.as_str()], "spec.analysis.stepWieght"),
        (vec![soon.as_str()], "spec.analysis.interval"),
        (
            vec![CANARY, kind.as_str()],
            "file: Servise shop: unknown kind of v1; heeded are",
        ),
        (vec!["a: [1"], "file:"),
        (vec!["just text"], "is no object"),
        (
            vec![CANARY, "{apiVersion: v1, kind: Service}"],
            "file: Service: metadata.name: is missing",
        ),
        (
            vec![
                CANARY,
                "{apiVersion: apps/v1, kind: Deployment, metadata: {name: shop}}",
            ],
            "containers[0].image",
        ),
    ] {
        let problem = of(&texts).map(|_| ()).unwrap_err();
        assert!(problem.contains(named), "{named}: {problem}");
    }
}

#[test]
fn everything_that_is_wrong_in_all_files_is_told_at_once() {
    let canary = canary(
        "rate",
        "    maxBlind: never\n    metrics: [{name: mood, thresholdRange: {min: 1}}]\n",
    );
    let service = "{apiVersion: v1, kind: Service, metadata: {name: rate}, spec: {selector: {app: rate}, ports: \
                   [{port: \"80\", targetPort: 8080}]}}";
    let text = refused(&[
        ("canary.yaml", &canary),
        ("svc.yaml", service),
        ("dep.yaml", &deployment("rate", "replica: 2, paused: \"no\",")),
        ("broken.yaml", "a: [1"),
    ]);
    let lines: Vec<&str> = text.lines().collect();
    for line in [
        "svc.yaml: Service rate: spec.ports[0].port: is \"80\"; must be a whole number",
        "dep.yaml: Deployment rate: spec.paused: is \"no\"; must be true or false",
        "dep.yaml: Deployment rate: spec.replica: unknown field",
        "canary.yaml: Canary rate: spec.analysis.metrics[0].name: \"mood\" is unknown; built in are \
         request-success-rate and request-duration",
        "canary.yaml: Canary rate: spec.analysis.maxBlind: \"never\" is no duration; write 30s, 1m or 1m30s, at least \
         1s",
    ] {
        assert!(lines.contains(&line), "{line}\n{text}");
    }
    assert!(
        lines.iter().any(|line| line.starts_with("broken.yaml: ")),
        "{text}"
    );
}

#[test]
fn deployments_that_no_cluster_takes_are_refused_with_their_field() {
    let depot = canary("depot", SUCCESS);
    let zero = "strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: \"0%\"}},";
    let number = deployment("depot", "").replace(
        "{name: depot}, spec",
        "{name: depot, labels: {version: 1.0}}, spec",
    );
    let expressions = deployment("depot", "").replace(
        "{matchLabels: {app: depot}}, template",
        "{matchExpressions: [{key: app, operator: In, values: [depot]}]}, template",
    );
    let labels = deployment("depot", "").replace("labels: {app: depot}", "labels: {app: shed}");
    for (text, named) in [
        (
            deployment("depot", zero),
            "spec.strategy.rollingUpdate.maxUnavailable: may not be 0",
        ),
        (number, "metadata.labels.version: is 1; must be text"),
        (expressions, "spec.selector.matchLabels: is missing"),
        (labels, "spec.template.metadata.labels: must have app: \"depot\""),
        (
            deployment("depot", "minReadySeconds: 600,"),
            "spec.progressDeadlineSeconds: is 600; must be greater than spec.minReadySeconds",
        ),
        (
            deployment(
                "depot",
                "strategy: {type: Recreate, rollingUpdate: {maxSurge: 1}},",
            ),
            "spec.strategy.rollingUpdate: may not be there",
        ),
        (
            deployment("depot", "replicas: -1,").replace("replicas: 3, ", ""),
            "spec.replicas: is -1",
        ),
    ] {
        let problem = refused(&[("canary.yaml", &depot), ("dep.json", &text)]);
        let named = format!("dep.json: Deployment depot: {named}");
        assert!(
            problem.starts_with(&named) && problem.lines().count() == 1,
            "{named}\n{problem}"
        );
    }
}

#[test]
fn windows_below_two_scrapes_are_refused_with_the_number_that_would_do() {
    let short = canary("rate", &SUCCESS.replace("30s", "15s"));
    let text = refused(&[("metric.yaml", &short)]);
    assert!(
        text.starts_with("metric.yaml: Canary rate: spec.analysis.metrics[0].interval: is 15s, and Prometheus scrapes every 15 s"),
        "{text}"
    );
    assert!(text.contains("write at least 30s"), "{text}");
    let often = Place {
        namespace: None,
        scrape: TimeDelta::seconds(5),
    };
    assert!(parse(&[source("metric.yaml", &short)], &often).is_ok());
}

#[test]
fn workload_whose_name_no_service_can_have_is_refused() {
    for name in ["search.v2", "3d-viewer"] {
        let text = refused(&[("canary.yaml", &canary(name, SUCCESS))]);
        assert!(
            text.starts_with(&format!(
                "canary.yaml: Canary {name}: spec.service.name: is missing"
            )),
            "{text}"
        );
        assert!(text.ends_with("set spec.service.name"), "{text}");
    }
}

#[test]
fn metrics_of_http_are_refused_where_the_routes_are_tcp() {
    let routes = "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: queue}, spec: {hosts: \
                  [queue], tcp: [{match: [{port: 80}], route: [{destination: {host: queue, port: {number: 80}}}]}]}}";
    let text = refused(&[("canary.yaml", &canary("queue", SUCCESS)), ("vs.yaml", routes)]);
    assert!(
        text.starts_with("canary.yaml: Canary queue: spec.analysis.metrics: request-success-rate and request-duration count HTTP"),
        "{text}"
    );
    assert!(text.contains("(VirtualService queue has tcp routes)"), "{text}");
    let input = of(&[&canary("queue", ""), routes]).unwrap();
    assert!(
        input
            .notes
            .iter()
            .any(|note| note.contains("each connection counts as a request")),
        "{:?}",
        input.notes
    );
}
