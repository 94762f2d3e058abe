use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::cel::validate_cel;
use serde_json::{Value, json};

use super::*;

fn web(change: impl FnOnce(&mut Value)) -> Canary {
    let mut canary = json!({
        "apiVersion": "bellwether.dev/v1beta1", "kind": "Canary", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "service": {"port": 80},
            "analysis": {"interval": "30s", "stepWeights": [10]},
        },
    });
    change(&mut canary);
    serde_json::from_value(canary).unwrap()
}

fn fields(canary: &Canary) -> Vec<String> {
    let invalid = validate(canary, TimeDelta::zero()).unwrap_err();
    invalid.0.into_iter().map(|problem| problem.field).collect()
}

#[test]
fn canary_that_is_deleted_is_not_kept_by_what_is_wrong_with_its_analysis() {
    let mut canary = web(|c| c["spec"]["analysis"]["interval"] = json!("soon"));
    assert_eq!(fields(&canary), ["spec.analysis.interval"]);
    canary.metadata.deletion_timestamp = Some(Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH));
    assert_eq!(
        validate(&canary, TimeDelta::zero()).unwrap().names.primary,
        "web-primary"
    );
    canary.spec.target_ref.name.clear();
    assert!(
        validate(&canary, TimeDelta::zero()).is_err(),
        "nothing tells what is its"
    );
}

#[test]
fn everything_that_is_wrong_is_named_at_once() {
    let canary = web(|c| {
        c["spec"]["targetRef"]["kind"] = json!("StatefulSet");
        c["spec"]["analysis"] = json!({
            "interval": "soon",
            "maxBlind": "0s",
            "stepWeights": [10, 200, 300],
            "metrics": [
                {"name": "request-success-rate", "thresholdRange": {"min": 99}},
                {"name": "mood", "interval": "1x", "thresholdRange": {}},
                {"name": "request-duration", "thresholdRange": {"min": 2, "max": 1}},
            ],
            "gates": [
                {"name": "a", "at": "pre-rollout", "approval": {}, "timeout": "later"},
                {"name": "a", "at": "pre-rollout"},
            ],
        });
    });
    assert_eq!(
        fields(&canary),
        [
            "spec.targetRef.kind",
            "spec.analysis.interval",
            "spec.analysis.stepWeights[1]",
            "spec.analysis.stepWeights[2]",
            "spec.analysis.maxBlind",
            "spec.analysis.metrics[1].name",
            "spec.analysis.metrics[1].thresholdRange",
            "spec.analysis.metrics[1].interval",
            "spec.analysis.metrics[2].thresholdRange",
            "spec.analysis.gates[0].timeout",
            "spec.analysis.gates[1].name",
            "spec.analysis.gates[1]",
        ]
    );
    let text = validate(&canary, TimeDelta::zero()).unwrap_err().to_string();
    assert!(
        text.starts_with(
            "spec.targetRef.kind: is \"StatefulSet\"; must be Deployment; spec.analysis.interval: \"soon\""
        ),
        "{text}"
    );
}

#[test]
fn workload_whose_name_no_service_can_have_needs_a_name_for_the_service() {
    for name in ["search.v2", "3d-viewer"] {
        let named = |service: Option<&str>| {
            web(|c| {
                c["spec"]["targetRef"]["name"] = json!(name);
                c["spec"]["service"]["name"] = json!(service);
            })
        };
        let refused = named(None);
        let text = validate(&refused, TimeDelta::zero()).unwrap_err().to_string();
        assert!(text.contains("spec.service.name: is missing"), "{text}");
        assert!(text.ends_with("set spec.service.name"), "{text}");
        let server = format!("{:?}", validate_cel(&refused).unwrap_err());
        assert!(server.contains("set spec.service.name"), "{server}");
        let right = named(Some("search"));
        let names = validate(&right, TimeDelta::zero()).unwrap().names;
        assert_eq!(
            (names.primary, names.primary_service),
            (format!("{name}-primary"), "search-primary".to_owned())
        );
        assert!(validate_cel(&right).is_ok());
    }
    assert_eq!(
        fields(&web(|c| c["spec"]["service"]["name"] = json!("Web"))),
        ["spec.service.name"]
    );
    assert_eq!(
        fields(&web(|c| c["spec"]["service"]["name"] = json!("w".repeat(56)))),
        ["spec.service.name"]
    );
    let shouted = web(|c| {
        c["spec"]["targetRef"]["name"] = json!("Web_1");
        c["spec"]["service"]["name"] = json!("web");
    });
    assert_eq!(fields(&shouted), ["spec.targetRef.name"]);
    assert!(validate_cel(&shouted).is_err());
}

#[test]
fn metrics_of_http_are_refused_for_a_service_that_is_tcp() {
    let success = json!([{"name": "request-success-rate", "interval": "30s", "thresholdRange": {"min": 99}}]);
    type Change = fn(&mut Value);
    let cases: [(Change, bool); 6] = [
        (|s| s["appProtocol"] = json!("tcp"), true),
        (|s| s["appProtocol"] = json!("TCP"), true),
        (|s| s["portName"] = json!("tls-amqp"), true),
        (|s| s["portName"] = json!("tcp"), true),
        (|s| s["portName"] = json!("tcpx"), false),
        (
            |s| (s["portName"], s["appProtocol"]) = (json!("tcp-web"), json!("http")),
            false,
        ),
    ];
    for (change, refused) in cases {
        let mut canary = web(|c| {
            change(&mut c["spec"]["service"]);
            c["spec"]["analysis"]["metrics"] = success.clone();
        });
        let verdict = validate(&canary, TimeDelta::zero());
        assert_eq!(verdict.is_err(), refused, "{:?}", canary.spec.service);
        assert_eq!(
            validate_cel(&canary).is_err(),
            refused,
            "{:?}",
            canary.spec.service
        );
        if let Err(invalid) = verdict {
            let text = invalid.to_string();
            assert!(
                text.starts_with("spec.analysis.metrics: request-success-rate"),
                "{text}"
            );
            assert!(text.contains("let spec.analysis.gates judge"), "{text}");
        }
        canary.spec.analysis.metrics.clear();
        assert!(validate(&canary, TimeDelta::zero()).is_ok());
    }
}

#[test]
fn reporter_and_disconnects_are_taken_over_and_fit_their_metric() {
    let with = |reporter: &str, metric: Value| {
        let analysis = json!({"stepWeights": [10], "reporter": reporter, "metrics": [metric]});
        web(|c| c["spec"]["analysis"] = analysis)
    };
    let rate = json!({"name": "request-success-rate", "thresholdRange": {"min": 99}, "disconnects": "bad"});
    let spec = validate(&with("source", rate), TimeDelta::zero()).unwrap();
    assert_eq!(spec.reporter, Reporter::Source);
    assert_eq!(spec.metrics[0].disconnects, Disconnects::Bad);
    let rate = json!({"name": "request-success-rate", "thresholdRange": {"min": 99}});
    let spec = validate(&with("destination", rate), TimeDelta::zero()).unwrap();
    assert_eq!(spec.reporter, Reporter::Destination);
    assert_eq!(spec.metrics[0].disconnects, Disconnects::Ignored);
    let p99 = json!({"name": "request-duration", "thresholdRange": {"max": 500}, "disconnects": "bad"});
    assert_eq!(
        fields(&with("source", p99)),
        ["spec.analysis.metrics[0].disconnects"]
    );
}

#[test]
fn metric_that_is_there_twice_is_refused_with_both_positions() {
    let canary = web(|c| {
        c["spec"]["analysis"]["metrics"] = json!([
            {"name": "request-success-rate", "thresholdRange": {"min": 99}},
            {"name": "request-duration", "thresholdRange": {"max": 500}},
            {"name": "request-success-rate", "thresholdRange": {"min": 50}, "disconnects": "bad"},
        ]);
    });
    let invalid = validate(&canary, TimeDelta::zero()).unwrap_err().to_string();
    for position in ["metrics[0]", "metrics[2].name"] {
        assert!(invalid.contains(position), "{invalid}");
    }
}

/// A Canary is validated in the task of the watch; a panic there ends the process.
#[test]
fn durations_that_cannot_be_counted_are_refused_and_not_panicked_over() {
    for text in ["1m-5s", "99999999999999999999h", "1000000000h"] {
        let canary = web(|c| c["spec"]["analysis"]["interval"] = json!(text));
        let verdict = std::panic::catch_unwind(|| validate(&canary, TimeDelta::zero()).is_err());
        assert_eq!(verdict.ok(), Some(true), "{text}");
    }
}

#[test]
fn protocol_of_a_port_is_what_istio_reads_of_it() {
    for (service, tcp, tls) in [
        (json!({"port": 80}), None, false),
        (json!({"port": 80, "portName": "http-tcp"}), None, false),
        (
            json!({"port": 80, "portName": "TCP-amqp"}),
            Some("portName: TCP-amqp"),
            false,
        ),
        (
            json!({"port": 80, "portName": "tls"}),
            Some("portName: tls"),
            true,
        ),
        (
            json!({"port": 80, "portName": "tls-x", "appProtocol": "http"}),
            None,
            false,
        ),
        (
            json!({"port": 80, "portName": "tls-x", "appProtocol": "tcp"}),
            Some("appProtocol: tcp"),
            false,
        ),
        (
            json!({"port": 80, "portName": "http", "appProtocol": "TLS"}),
            Some("appProtocol: TLS"),
            true,
        ),
    ] {
        let typed: Service = serde_json::from_value(service.clone()).unwrap();
        assert_eq!(says_tcp(&typed).as_deref(), tcp, "{service}");
        let found = unrouted_tls("web", &typed, "web");
        assert_eq!(found.is_some(), tls, "{service}: {found:?}");
    }
}
