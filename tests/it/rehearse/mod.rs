//! `bellwether rehearse`, from a request or a command line to output and exit code.

mod files; // the files of teams as they are

use std::{path::PathBuf, process::Command};

use bellwether::sim::rehearse::{
    Error, Form, Request,
    release::Release,
    story::{Act, metrics_down},
};
use chrono::TimeDelta;
use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn request() -> Request {
    Request {
        files: vec![PathBuf::from(ROOT).join("examples/canary.yaml")],
        namespace: None,
        release: Release::default(),
        present: Release::default(),
        acts: Vec::new(),
        story: None,
        rps: None,
        selector_labels: Vec::new(),
        scrape: None,
        seed: 1,
        repeat: None,
        form: Form::Plain,
    }
}

fn errors(share: f64) -> Release {
    Release {
        errors: Some(share),
        ..Release::default()
    }
}

fn rehearse(request: &Request) -> (u8, String) {
    let mut out = Vec::new();
    let code = bellwether::sim::rehearse::rehearse(request, &mut out, &|_, _| {}).unwrap();
    (code, String::from_utf8(out).unwrap())
}

/// A file of this test run alone.
fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn told(name: &str, story: &str) -> (u8, String) {
    rehearse(&Request {
        story: Some(file(name, story)),
        ..request()
    })
}

fn last(text: &str) -> &str {
    text.lines().last().unwrap_or_default()
}

#[test]
fn good_release_is_promoted_and_the_documentation_shows_it() {
    let (code, text) = rehearse(&request());
    assert_eq!(code, 0, "{text}");
    assert!(last(&text).starts_with("promoted after 6:0"), "{text}");
    assert!(text.contains("assumed: Deployment shop"), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
    assert!(text.contains(" 0 failed,"), "{text}");
    let docs = std::fs::read_to_string(PathBuf::from(ROOT).join("docs/rehearse.md")).unwrap();
    let shown: String = text.lines().map(|line| format!("    {line}\n")).collect();
    assert!(
        docs.contains(&shown),
        "docs/rehearse.md is to show this:\n{shown}"
    );
}

#[test]
fn bad_releases_are_rolled_back_with_their_reason() {
    let slow = Release {
        latency: Some(400.0),
        ..Release::default()
    };
    let never_ready = Release {
        never_ready: true,
        ..Release::default()
    };
    let crashing = Release {
        crash_after: Some(TimeDelta::minutes(3)),
        ..Release::default()
    };
    for (release, reason) in [
        (errors(0.05), "request-success-rate is"),
        (errors(1.0), "request-success-rate is 0 %"),
        (slow, "request-duration is"),
        (never_ready, "0 of 2 pods of the new revision are ready"),
        (crashing, "0 of 2 pods of the canary can serve"),
    ] {
        let (code, text) = rehearse(&Request { release, ..request() });
        assert_eq!(code, 3, "{text}");
        assert!(last(&text).starts_with("rolled back after"), "{text}");
        assert!(last(&text).contains(reason), "{text}");
    }
}

#[test]
fn short_blindness_delays_a_release_and_a_long_one_holds_it() {
    let down = |from, to| Request {
        acts: metrics_down((TimeDelta::minutes(from), TimeDelta::minutes(to))).to_vec(),
        ..request()
    };
    let (code, text) = rehearse(&down(1, 4));
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("HeldMetricsUnavailable"), "{text}");
    let (code, text) = rehearse(&down(1, 24 * 60));
    assert_eq!(code, 4, "{text}");
    assert!(last(&text).starts_with("held after"), "{text}");
    assert!(last(&text).contains("MetricsUnavailable"), "{text}");
}

#[test]
fn release_without_callers_is_held() {
    let (code, text) = rehearse(&Request {
        rps: Some(0.0),
        ..request()
    });
    assert_eq!(code, 4, "{text}");
    assert!(last(&text).contains("NoData"), "{text}");
}

#[test]
fn story_tells_what_happens() {
    let (code, text) = told(
        "fixed.yaml",
        "release: {errors: 20%}\nevents:\n- {at: 80s, do: restart-controller}\n- {at: 90s, do: ship, errors: 0%}\n- {at: 3m, do: kill-pod, of: primary}\n",
    );
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("rehearsed-2 is shipped"), "{text}");
    assert!(text.contains("a pod of the primary is killed"), "{text}");
    let (code, text) = told("reverted.yaml", "- {at: 90s, do: revert}\n");
    assert_eq!(code, 4, "{text}");
    assert!(last(&text).contains("aborted"), "{text}");
    let (code, text) = told("deleted.yaml", "- {at: 90s, do: delete-canary}\n");
    assert_eq!(code, 4, "{text}");
    assert!(last(&text).contains("handed back"), "{text}");
    let (code, text) = told("suspended.yaml", "- {at: 90s, do: suspend}\n");
    assert_eq!(code, 4, "{text}");
    assert!(last(&text).contains("Suspended"), "{text}");
}

#[test]
fn release_that_was_rolled_back_stays_so_when_its_author_reverts_it() {
    let (code, text) = told(
        "revert.yaml",
        "release: {errors: 20%}\nevents:\n- {at: 8m, do: revert}\n",
    );
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("is set back to"), "{text}");
    assert!(
        last(&text).starts_with("rolled back after 5:14: check failed"),
        "{text}"
    );
    assert!(last(&text).contains("request-success-rate is"), "{text}");
}

#[test]
fn killed_pod_is_replaced() {
    let (code, text) = told("killed.yaml", "- {at: 90s, do: kill-pod}\n");
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("a pod of the canary is killed"), "{text}");
}

#[test]
fn document_says_the_same_as_the_lines() {
    for (release, outcome) in [(Release::default(), "promoted"), (errors(0.05), "rolledBack")] {
        let request = Request { release, ..request() };
        let (code, text) = rehearse(&request);
        let (same, document) = rehearse(&Request {
            form: Form::Json,
            ..request
        });
        let document: Value = serde_json::from_str(&document).unwrap();
        assert_eq!(code, same);
        assert_eq!(document["verdict"]["outcome"], outcome);
        assert_eq!(document["verdict"]["exitCode"], code);
        assert!(last(&text).contains(document["verdict"]["reason"].as_str().unwrap()));
        assert!(text.contains(&format!("{} requests: ", document["requests"]["sent"])));
        let timeline = document["timeline"].as_array().unwrap();
        let facts: Vec<_> = timeline.iter().filter(|entry| entry["kind"] == "fact").collect();
        assert!(facts.len() > 4, "{document:#}");
        for fact in facts {
            assert!(text.contains(fact["message"].as_str().unwrap()), "{fact}\n{text}");
        }
        assert!(
            timeline
                .iter()
                .any(|e| e["kind"] == "beat" && e["canary"]["p99Ms"].is_number())
        );
    }
}

#[test]
fn one_seed_is_one_rehearsal_in_every_form() {
    let seed = |seed| Request { seed, ..request() };
    assert_eq!(rehearse(&seed(7)), rehearse(&seed(7)));
    assert_ne!(rehearse(&seed(7)), rehearse(&seed(8)));
    let (code, text) = rehearse(&Request {
        form: Form::Live {
            speed: Some(0.0),
            paint: bellwether::paint::Paint::default(),
        },
        ..seed(7)
    });
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("██████··············"), "{text}");
    assert_eq!(last(&text), last(&rehearse(&seed(7)).1));
}

#[test]
fn odds_tell_a_healthy_release_from_a_bad_one() {
    let (code, text) = rehearse(&Request {
        release: errors(0.05),
        repeat: Some(8),
        form: Form::Json,
        ..request()
    });
    assert_eq!(code, 0, "{text}");
    let odds: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(odds["healthy"]["promoted"]["count"], 8, "{text}");
    assert_eq!(odds["healthy"]["rolledBack"]["upperPercent"], 36.9417, "{text}");
    assert_eq!(odds["described"]["rolledBack"]["count"], 8, "{text}");
    assert!(odds["described"]["failedRequests"]["median"].as_f64().unwrap() > 0.0);
    let (_, text) = rehearse(&Request {
        repeat: Some(2),
        ..request()
    });
    assert!(
        text.contains("A healthy release is rolled back: 0 of 2"),
        "{text}"
    );
    assert!(!text.contains("described release"), "{text}");
}

#[test]
fn input_that_cannot_be_used_is_refused_by_name() {
    let canary = std::fs::read_to_string(PathBuf::from(ROOT).join("examples/canary.yaml")).unwrap();
    let selector = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\nspec:\n  selector: {matchLabels: {app: shop}}\n  template:\n    metadata: {labels: {app: other}}\n    spec: {containers: [{name: app, image: shop}]}\n";
    let cases: [(&str, String, &str); 4] = [
        (
            "typo.yaml",
            canary.replace("threshold:", "treshold:"),
            "spec.analysis.treshold",
        ),
        (
            "steps.yaml",
            canary.replace("stepWeight: 10", "stepWeights: [20, 10]"),
            "spec.analysis.stepWeights",
        ),
        (
            "labels.yaml",
            format!("{canary}\n---\n{selector}"),
            "spec.template.metadata.labels",
        ),
        (
            "kind.yaml",
            format!("{canary}\n---\n{{apiVersion: v1, kind: Podd, metadata: {{name: a}}}}"),
            "Podd a: unknown kind of v1",
        ),
    ];
    for (name, text, named) in cases {
        let request = Request {
            files: vec![file(name, &text)],
            ..request()
        };
        let refused = bellwether::sim::rehearse::rehearse(&request, &mut Vec::new(), &|_, _| {});
        let Err(Error::BadInput(problem)) = refused else {
            panic!("{name}: {refused:?}")
        };
        assert!(problem.contains(named), "{problem}");
    }
    let story: Vec<Act> = Vec::new();
    let request = Request {
        acts: story,
        story: Some(file("mad.yaml", "- {at: noon, do: revert}\n")),
        ..request()
    };
    let refused = bellwether::sim::rehearse::rehearse(&request, &mut Vec::new(), &|_, _| {});
    let problem = refused.unwrap_err().to_string();
    assert!(
        problem.contains("--story") && problem.contains("event 1: at:"),
        "{problem}"
    );
}

fn binary(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_bellwether"))
        .current_dir(ROOT)
        .arg("rehearse")
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn binary_returns_the_verdict_as_its_exit_code() {
    let (code, out, _) = binary(&["examples/canary.yaml"]);
    assert_eq!((code, out), (Some(0), rehearse(&request()).1));
    let (code, out, _) = binary(&["examples", "--errors", "5%"]);
    assert_eq!(code, Some(3), "{out}");
    let (code, out, _) = binary(&["examples", "--metrics-down", "0s..24h"]);
    assert_eq!(code, Some(4), "{out}");
}

#[test]
fn flags_that_cannot_be_used_are_refused_by_name() {
    for (arguments, named) in [
        (vec!["examples", "--errors", "5"], "--errors"),
        (vec!["examples", "--latency", "800ms"], "--latency"),
        (vec!["examples", "--metrics-down", "5m"], "--metrics-down"),
        (vec!["examples", "--rps", "-3"], "--rps"),
        (vec!["examples", "--rps=-3"], "--rps"),
        (vec!["examples", "--crash-after", "soon"], "--crash-after"),
        (vec!["examples", "--repeat", "0"], "--repeat"),
        (vec!["examples", "--scrape-interval", "0s"], "--scrape-interval"),
        (vec!["examples", "--story", "none.yaml"], "none.yaml"),
        (vec!["examples", "--story", "x", "--errors", "1%"], "--story"),
        (vec!["missing.yaml"], "missing.yaml"),
        (vec!["examples/shop.yaml"], "no Canary"),
        (vec![], "FILE"),
    ] {
        let (code, out, problem) = binary(&arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {problem}");
        assert!(problem.contains(named), "{arguments:?}: {problem}");
        assert_eq!(out, "", "{arguments:?}");
    }
}
