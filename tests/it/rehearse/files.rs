//! Files as teams have them: routes with conditions, TCP, rollout strategies, exports, freezes, empty fields.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use super::*;

/// A Canary named as its workload, with steps of 30 s.
fn canary(name: &str, service: &str, metrics: &str) -> String {
    format!(
        "apiVersion: bellwether.dev/v1beta1
kind: Canary
metadata: {{name: {name}}}
spec:
  targetRef: {{apiVersion: apps/v1, kind: Deployment, name: {name}}}
  service: {{port: 80, targetPort: 8080{service}}}
  analysis:
    interval: 30s
    threshold: 3
    stepWeights: [10, 50]
    metrics: {metrics}
"
    )
}

const SUCCESS: &str = "[{name: request-success-rate, thresholdRange: {min: 99}, interval: 30s}]";

/// A Deployment with three pods, with this in its specification as well.
fn deployment(name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {name}}}, spec: {{replicas: 3, {spec}
  selector: {{matchLabels: {{app: {name}}}}}, template: {{metadata: {{labels: {{app: {name}}}}},
  spec: {{containers: [{{name: main, image: \"reg.example/{name}:4\", ports: [{{containerPort: 8080}}]}}]}}}}}}}}"
    )
}

/// What becomes of a release with these documents.
fn of(name: &str, documents: &[&str], release: Release) -> (u8, String) {
    rehearse(&Request {
        files: vec![file(name, &documents.join("\n---\n"))],
        release,
        ..request()
    })
}

#[test]
fn routes_with_conditions_are_split_and_callers_meet_them() {
    let by_match = canary(
        "front",
        ", gateways: [edge/public], hosts: [front.shop.example], match: [{uri: {prefix: /}}], timeout: 15s, retries: \
         {attempts: 3, perTryTimeout: 1s, retryOn: \"gateway-error,connect-failure\"}",
        SUCCESS,
    );
    let routes = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: front}
spec:
  hosts: [front, front.shop.example]
  gateways: [mesh, edge/public]
  http:
  - name: slow
    match: [{uri: {prefix: /report}}]
    timeout: 60s
    route: [{destination: {host: front}}]
  - name: rest
    match: [{uri: {prefix: /}}]
    timeout: 5s
    route: [{destination: {host: front}}]
";
    for (name, documents) in [
        ("match-a.yaml", vec![by_match.as_str()]),
        ("match-b.yaml", vec![&canary("front", "", SUCCESS), routes]),
    ] {
        let (code, text) = of(name, &documents, Release::default());
        assert_eq!(code, 0, "{text}");
        assert!(last(&text).starts_with("promoted after"), "{text}");
        assert!(text.contains(" 0 failed,"), "{text}");
        let (code, text) = of(name, &documents, errors(0.2));
        assert_eq!(code, 3, "{text}");
        assert!(last(&text).contains("request-success-rate is"), "{text}");
    }
}

#[test]
fn service_that_is_tcp_is_released_without_metrics_of_http() {
    let generated = canary("queue", ", portName: tcp-amqp, appProtocol: tcp", "[]");
    let routes = "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: queue}, spec: {hosts: \
                  [queue], tcp: [{match: [{port: 80}], route: [{destination: {host: queue, port: {number: 80}}}]}]}}";
    let tls = "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: queue}, spec: {hosts: \
               [queue.example], tls: [{match: [{sniHosts: [queue.example]}], route: [{destination: {host: queue}}]}]}}";
    for (name, documents) in [
        ("tcp-a.yaml", vec![generated.as_str()]),
        ("tcp-b.yaml", vec![&canary("queue", "", "[]"), routes]),
        ("tls.yaml", vec![&canary("queue", "", "[]"), tls]),
    ] {
        let (code, text) = of(name, &documents, Release::default());
        assert_eq!(code, 0, "{text}");
        assert!(last(&text).starts_with("promoted after"), "{text}");
        assert!(text.contains(" 0 failed,"), "{text}");
    }
}

#[test]
fn rollout_strategies_are_those_of_the_deployment() {
    let depot = canary("depot", "", SUCCESS);
    let of = |name: &str, spec: &str| of(name, &[&depot, &deployment("depot", spec)], Release::default());
    let (code, plain) = of("plain.yaml", "");
    assert_eq!(code, 0, "{plain}");
    let (code, text) = of("minready.yaml", "minReadySeconds: 120,");
    assert_eq!(code, 0, "{text}");
    let after = |text: &str| {
        let time = last(text)
            .split(' ')
            .nth(2)
            .unwrap_or_default()
            .trim_end_matches(':')
            .to_owned();
        let (minutes, seconds) = time.split_once(':').unwrap();
        minutes.parse::<i32>().unwrap() * 60 + seconds.parse::<i32>().unwrap()
    };
    assert!(
        after(&text) >= after(&plain) + 240,
        "before the first step and at the promotion\n{text}"
    );
    for (name, spec) in [
        (
            "surge0.yaml",
            "strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 1}},",
        ),
        (
            "percent0.yaml",
            "strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 25%}},",
        ),
        ("history0.yaml", "revisionHistoryLimit: 0,"),
    ] {
        let (code, text) = of(name, spec);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains(" 0 failed,"), "{text}");
    }
}

#[test]
fn paused_deployment_is_named_as_what_the_release_waits_for() {
    let documents = [
        &canary("depot", "", SUCCESS),
        &deployment("depot", "paused: true,"),
    ];
    let (code, text) = of("paused.yaml", &documents.map(String::as_str), Release::default());
    assert_eq!(code, 4, "{text}");
    assert!(
        text.contains("\nDeployment depot is paused (spec.paused): its template waits"),
        "{text}"
    );
    assert!(last(&text).contains("paused"), "{text}");
}

#[test]
fn freeze_in_the_files_holds_the_release() {
    let freeze = |name: &str, canary: &str| {
        format!(
            "{{apiVersion: bellwether.dev/v1beta1, kind: Freeze, metadata: {{name: {name}}}, spec: {{reason: sale, \
             canaryRef: {{name: {canary}}}}}}}"
        )
    };
    let bill = canary("bill", "", SUCCESS);
    let (code, text) = of(
        "frozen.yaml",
        &[&bill, &freeze("ours", "bill")],
        Release::default(),
    );
    assert_eq!(code, 4, "{text}");
    assert!(
        last(&text).contains("Freeze") && last(&text).contains("sale"),
        "{text}"
    );
    let (code, text) = of(
        "thawed.yaml",
        &[&bill, &freeze("other", "till")],
        Release::default(),
    );
    assert_eq!(code, 0, "{text}");
}

#[test]
fn story_answers_at_gates() {
    let metrics = format!("{SUCCESS}\n    gates: [{{name: look, at: pre-rollout, approval: {{}}}}]");
    let gated = canary("gate", "", &metrics);
    let told = |action: &str| {
        rehearse(&Request {
            files: vec![file("gated.yaml", &gated)],
            story: Some(file(
                &format!("{action}.yaml"),
                &format!("- {{at: 1m, do: {action}, gate: look}}"),
            )),
            ..request()
        })
    };
    let (code, text) = told("approve");
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("gate look is approved"), "{text}");
    let (code, text) = told("reject");
    assert_ne!(code, 0, "{text}");
    assert!(text.contains("the release is rejected at gate look"), "{text}");
    let (code, text) = of("waiting.yaml", &[&gated], Release::default());
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("gate look: the release waits at it"), "{text}");
}

#[test]
fn empty_fields_of_templates_are_rehearsed_as_the_defaults() {
    let empty = canary(
        "rate",
        ", name: null, portName: null, appProtocol: null, timeout: \"\"",
        SUCCESS,
    );
    let empty = format!("{empty}    gates:\n    maxBlind:\n").replace("spec:\n", "spec:\n  skipAnalysis:\n");
    assert_eq!(
        of("null.yaml", &[&empty], Release::default()),
        of("filled.yaml", &[&canary("rate", "", SUCCESS)], Release::default())
    );
    let (code, text) = of(
        "search.yaml",
        &[&canary("search.v2", ", name: search", SUCCESS)],
        Release::default(),
    );
    assert_eq!(code, 0, "{text}");
}

#[test]
fn what_kubectl_exports_is_rehearsed_from_standard_input() {
    let list = format!(
        "apiVersion: v1\nkind: List\nmetadata: {{resourceVersion: \"\"}}\nitems:\n- {}\n- {}\n",
        canary("cart", "", SUCCESS)
            .replace(
                "{name: cart}\n",
                "{name: cart, uid: a, resourceVersion: \"88123\", generation: 2, managedFields: []}\n"
            )
            .trim_end()
            .replace('\n', "\n  "),
        deployment("cart", "").replace("{name: cart}", "{name: cart, uid: b, resourceVersion: \"88124\"}")
    );
    let mut rehearsal = Command::new(env!("CARGO_BIN_EXE_bellwether"))
        .args(["rehearse", "-", "-n", "prod"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    rehearsal
        .stdin
        .take()
        .unwrap()
        .write_all(list.as_bytes())
        .unwrap();
    let output = rehearsal.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.starts_with("rehearsal of Canary prod/cart,"), "{text}");
}

#[test]
fn every_problem_is_a_line_on_standard_error() {
    let canary = file(
        "two-faults.yaml",
        &canary("rate", "", "[{name: mood}]").replace("30s", "soon"),
    );
    let story = file("two-faults-story.yaml", "- {at: noon, do: revert}\n");
    let (code, out, problems) = binary(&[canary.to_str().unwrap(), "--story", story.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{problems}");
    assert!(
        problems.lines().all(|line| line.starts_with("bellwether: ")),
        "{problems}"
    );
    for named in [
        "spec.analysis.interval:",
        "spec.analysis.metrics[0].name:",
        "spec.analysis.metrics[0].thresholdRange:",
        "--story",
    ] {
        let lines = problems.lines().filter(|line| line.contains(named));
        assert_eq!(lines.count(), 1, "{named}: {problems}");
    }
}

#[test]
fn primary_is_told_by_the_label_that_is_asked_for() {
    let pods = deployment("till", "").replace("{app: till}", "{team: till}");
    let asking = |labels: &[&str]| Request {
        files: vec![file(
            &format!("label{}.yaml", labels.len()),
            &[canary("till", "", SUCCESS), pods.clone()].join("\n---\n"),
        )],
        selector_labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        ..request()
    };
    let (code, text) = rehearse(&asking(&["app", "team"]));
    assert_eq!(code, 0, "{text}");
    let (code, text) = rehearse(&asking(&[]));
    assert_eq!(code, 4, "{text}");
    assert!(last(&text).contains("nothing was shipped"), "{text}");
}
