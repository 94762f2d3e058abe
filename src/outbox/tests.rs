//! Facts as events, and the lines in which they wait.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use cdevents_sdk::CDEvent;
use cloudevents::AttributesReader;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    Fact, Outbox,
    cdevent::KNOWN,
    cloud_event::{CloudEvent, Format, Mode},
    lines::{Fate, Lines, Put},
};
use crate::{
    api::{Notice, NoticeKind, Phase, Situation},
    rollout::{CanaryId, decide::facts::OUTCOMES},
};

const DOCS: &str = include_str!("../../docs/events.md");

fn canary(name: &str) -> CanaryId {
    CanaryId {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
    }
}

fn notice(seq: i64, reason: &str) -> Notice {
    Notice {
        seq,
        kind: NoticeKind::Normal,
        reason: reason.to_owned(),
        message: "all \"is\" well → good".to_owned(),
        at: "2026-11-25T10:42:07.123Z".parse().unwrap(),
        situation: Some(Situation {
            phase: Some(Phase::Progressing),
            revision: Some("b".to_owned()),
            promoted: Some("a".to_owned()),
            image: Some("registry.example/shop/web:1.2".to_owned()),
            weight: 30,
            step: Some(1),
        }),
    }
}

fn fact(seq: i64, reason: &str) -> Fact {
    Fact {
        canary: canary("web"),
        uid: "6f2b4c1e".to_owned(),
        notice: notice(seq, reason),
    }
}

/// Reason and type, as docs/events.md has them.
fn documented() -> Vec<(String, String)> {
    let rows = DOCS.lines().filter(|line| line.contains("| `dev.cdevents"));
    rows.map(|line| {
        let words: Vec<&str> = line.split('`').collect();
        // Of a family of reasons the row has an example.
        let reason = if words[1].ends_with('…') {
            words[3]
        } else {
            words[1]
        };
        (reason.to_owned(), words[words.len() - 2].to_owned())
    })
    .collect()
}

#[test]
fn every_documented_reason_has_its_type_and_is_read_as_a_cdevent() {
    let documented = documented();
    assert!(documented.len() > 20, "{documented:?}");
    for (reason, kind) in documented {
        let event = CloudEvent::new(&fact(7, &reason), Some("prod"), Format::CdEvents);
        assert_eq!(event.kind, kind, "{reason}");
        let read: CDEvent = serde_json::from_value(event.data.clone()).unwrap();
        assert_eq!(read.ty(), kind);
        assert_eq!(read.id().as_str(), "6f2b4c1e/7");
        assert_eq!(
            read.source().as_str(),
            "/clusters/prod/namespaces/shop/canaries/web"
        );
        assert_eq!(read.subject().id().as_str(), "shop/web");
        assert_eq!(
            serde_json::to_value(&read).unwrap(),
            event.data,
            "nothing is lost in {reason}"
        );
    }
}

#[test]
fn every_reason_that_a_decision_can_tell_is_documented() {
    let documented: Vec<String> = documented().into_iter().map(|(reason, _)| reason).collect();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/core/src/rollout/decide");
    let mut told = 0;
    let entries = |folder: &std::path::Path| {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let (mut paths, folders): (Vec<_>, Vec<_>) = entries(folder.as_ref())
        .into_iter()
        .partition(|path| path.is_file());
    // A rule of several files is a folder; tests and the world around them tell nobody.
    let rules = folders
        .iter()
        .filter(|folder| !folder.ends_with("tests") && !folder.ends_with("world"));
    paths.extend(rules.flat_map(|folder| entries(folder)));
    for path in paths {
        let text = std::fs::read_to_string(path).unwrap();
        for call in text.split(".tell(").skip(1) {
            let Some(reason) = call.split(");").next().unwrap().split('"').nth(1) else {
                continue;
            };
            if reason.starts_with(|c: char| c.is_ascii_uppercase()) && reason.chars().all(char::is_alphabetic)
            {
                told += 1;
                assert!(documented.contains(&reason.to_owned()), "{reason}");
            }
        }
    }
    assert!(told > 12, "{told}");
}

#[test]
fn what_is_an_event_of_a_service_is_kept_like_an_outcome() {
    for (reason, kind) in KNOWN {
        assert!(kind.starts_with("dev.cdevents.service."), "{kind}");
        assert!(OUTCOMES.contains(&reason), "{reason}");
    }
}

#[test]
fn unknown_artifact_makes_a_custom_event() {
    for image in [None, Some("no image".to_owned())] {
        let mut fact = fact(7, "Promoted");
        if let Some(situation) = &mut fact.notice.situation {
            situation.image = image;
        }
        let event = CloudEvent::new(&fact, None, Format::CdEvents);
        assert_eq!(event.kind, "dev.cdeventsx.bellwether-canary.promoted.0.1.0");
        serde_json::from_value::<CDEvent>(event.data).unwrap();
    }
    let mut old = fact(7, "Promoted");
    old.notice.situation = None;
    let event = CloudEvent::new(&old, None, Format::CdEvents);
    assert_eq!(event.data["subject"]["content"]["reason"], "Promoted");
}

#[test]
fn both_modes_say_the_same_to_a_reader_that_is_not_ours() {
    for format in [Format::CdEvents, Format::CloudEvents] {
        let event = CloudEvent::new(&fact(7, "Promoted"), None, format);
        let read = [Mode::Structured, Mode::Binary].map(|mode| {
            let message = event.message(mode).unwrap();
            cloudevents::binding::http::to_event(&message.headers, message.body).unwrap()
        });
        for read in &read {
            assert_read(read, &event, format);
        }
    }
}

fn assert_read(read: &cloudevents::Event, event: &CloudEvent, format: Format) {
    assert_eq!(read.id(), "6f2b4c1e/7");
    assert_eq!(read.source(), "/namespaces/shop/canaries/web");
    assert_eq!(read.subject(), Some("shop/web"));
    assert_eq!(read.time().unwrap().to_rfc3339(), "2026-11-25T10:42:07.123+00:00");
    assert_eq!(read.datacontenttype(), Some("application/json"));
    assert_eq!(read.extension("sequence").unwrap().to_string(), "0000000007");
    let data: Value = match read.data().unwrap().clone() {
        cloudevents::Data::Json(value) => value,
        cloudevents::Data::Binary(bytes) => serde_json::from_slice(&bytes).unwrap(),
        cloudevents::Data::String(text) => serde_json::from_str(&text).unwrap(),
    };
    assert_eq!(data, event.data);
    let kind = match format {
        Format::CdEvents => "dev.cdevents.service.upgraded.0.3.0",
        Format::CloudEvents => "dev.bellwether.canary.promoted",
    };
    assert_eq!(read.ty(), kind);
}

#[test]
fn facts_say_all_that_is_known() {
    let event = CloudEvent::new(&fact(7, "WeightAdvanced"), None, Format::CloudEvents);
    let expected = json!({
        "namespace": "shop", "canary": "web", "uid": "6f2b4c1e", "seq": 7,
        "reason": "WeightAdvanced", "severity": "Normal", "message": "all \"is\" well → good",
        "phase": "Progressing", "weight": 30, "step": 2,
        "revision": "b", "promoted": "a", "promotedImage": "registry.example/shop/web:1.2",
    });
    assert_eq!(event.data, expected);
}

#[test]
fn examples_in_the_documentation_are_what_is_sent() {
    let example = |n: usize| -> Value {
        let block = DOCS.split("```http").nth(n).unwrap();
        let text = block.split("```").next().unwrap();
        serde_json::from_str(&text[text.find('{').unwrap()..]).unwrap()
    };
    let keys = |value: &Value| -> Vec<String> {
        let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    let event = CloudEvent::new(&fact(9, "Promoted"), Some("prod-eu"), Format::CdEvents);
    let sent: Value = serde_json::from_slice(&event.message(Mode::Structured).unwrap().body).unwrap();
    let shown = example(1);
    assert_eq!(keys(&sent), keys(&shown));
    assert_eq!(keys(&sent["data"]), keys(&shown["data"]));
    assert_eq!(sent["data"]["subject"], shown["data"]["subject"]);
    let event = CloudEvent::new(&fact(5, "WeightAdvanced"), Some("prod-eu"), Format::CloudEvents);
    assert_eq!(keys(&event.data), keys(&example(2)));
}

#[test]
fn what_is_told_goes_with_the_object() {
    let (woken, mut wakes) = tokio::sync::mpsc::unbounded_channel();
    let (outbox, mut facts) = Outbox::new(Vec::new(), woken);
    let id = canary("web");
    outbox.tell(&id, "first", &notices([6, 7]));
    outbox.tell(&id, "first", &notices([6, 7]));
    let handed: Vec<Fact> = std::iter::from_fn(|| facts.try_recv().ok()).collect();
    assert_eq!(handed.len(), 2, "each is handed over once");
    assert_eq!(outbox.told(&id), 0);
    outbox.published(&handed[1]);
    assert_eq!(outbox.told(&id), 7);
    outbox.tell(&id, "second", &notices([1]));
    assert_eq!(outbox.told(&id), 0, "another object of the same name");
    outbox.published(&handed[1]);
    assert_eq!(
        outbox.told(&id),
        0,
        "a fact of the first says nothing of the second"
    );
    assert!(facts.try_recv().is_ok());
    assert!(
        wakes.try_recv().is_err(),
        "nobody is woken for Kubernetes Events alone"
    );
}

fn notices(seqs: impl IntoIterator<Item = i64>) -> Vec<Notice> {
    seqs.into_iter().map(|seq| notice(seq, "CheckFailed")).collect()
}

const NOW: Duration = Duration::from_secs(100);

#[test]
fn line_tells_in_order_and_one_at_a_time() {
    let mut lines = Lines::default();
    assert!(lines.put(&canary("a"), "u", &notices([1, 2])).new);
    let nothing = Put::default();
    assert_eq!(lines.put(&canary("a"), "u", &notices([1, 2])), nothing);
    let first = lines.take(NOW).unwrap();
    assert_eq!(first.notice.seq, 1);
    assert_eq!(lines.take(NOW), None, "the first is under way");
    lines.put(&canary("b"), "u", &notices([5]));
    assert_eq!(
        lines.take(NOW).unwrap().canary,
        canary("b"),
        "another does not wait"
    );
    assert!(!lines.pass(&first, NOW));
    let second = lines.take(NOW).unwrap();
    assert_eq!(second.notice.seq, 2);
    assert!(lines.pass(&second, NOW), "that was the last");
    assert_eq!(lines.passed(&canary("a")), 2);
    assert_eq!(
        lines.put(&canary("a"), "u", &notices([1, 2])),
        nothing,
        "all told"
    );
}

#[test]
fn failed_fact_waits_alone_and_is_the_next_again() {
    let mut lines = Lines::default();
    lines.put(&canary("a"), "u", &notices([1, 2]));
    lines.put(&canary("b"), "u", &notices([1]));
    let fact = lines.take(NOW).unwrap();
    assert_eq!(lines.fail(&fact), 1);
    lines.retry(&fact, NOW * 2);
    assert_eq!(lines.take(NOW).unwrap().canary, canary("b"));
    assert_eq!(lines.take(NOW), None);
    assert_eq!(lines.next_due(), Some(NOW * 2));
    assert_eq!(lines.take(NOW * 2), Some(fact.clone()));
    assert_eq!(lines.fail(&fact), 2);
}

#[test]
fn what_the_status_dropped_is_not_told_any_more() {
    let mut lines = Lines::default();
    lines.put(&canary("a"), "u", &notices([1, 2, 3]));
    let first = lines.take(NOW).unwrap();
    let put = lines.put(&canary("a"), "u", &notices([3, 4]));
    assert_eq!(put.crowded, 1, "the second; the first may still arrive");
    assert_eq!(lines.retry(&first, NOW), Fate::Crowded, "it did not, and is lost");
    let third = lines.take(NOW).unwrap();
    assert_eq!(third.notice.seq, 3);
    assert_eq!(lines.len(), 2);
    lines.put(&canary("a"), "u", &notices([4]));
    lines.pass(&third, NOW);
    assert_eq!(
        lines.put(&canary("a"), "u", &[]).crowded,
        1,
        "the fourth, not the third"
    );
    assert_eq!(lines.passed(&canary("a")), 3);
}

#[test]
fn facts_of_another_object_of_the_same_name_are_its_own() {
    let mut lines = Lines::default();
    lines.put(&canary("a"), "first", &notices([7]));
    let old = lines.take(NOW).unwrap();
    lines.put(&canary("a"), "second", &notices([1]));
    assert!(!lines.pass(&old, NOW));
    assert_eq!(lines.passed(&canary("a")), 0);
    assert_eq!(lines.take(NOW).unwrap().uid, "second");
    assert_eq!(lines.retry(&old, NOW), Fate::Gone);
}

#[test]
fn what_is_under_way_when_its_canary_goes_is_lost_only_if_it_fails() {
    let mut lines = Lines::default();
    lines.put(&canary("a"), "u", &notices([1, 2, 3]));
    let first = lines.take(NOW).unwrap();
    assert_eq!(lines.forget(&canary("a")), 2);
    assert_eq!(lines.retry(&first, NOW), Fate::Gone);
    assert_eq!(lines.len(), 0);
}

proptest! {
    /// A status that drops its oldest facts, a sink that fails at will, rounds at any time.
    #[test]
    fn every_fact_is_told_in_order_unless_the_status_dropped_it(
        actions in proptest::collection::vec((0u8..5, 0usize..3), 1..400),
    ) {
        let names = ["a", "b", "c"].map(canary);
        let mut lines = Lines::default();
        let mut status: BTreeMap<usize, VecDeque<i64>> = BTreeMap::new();
        let mut newest = [0_i64; 3];
        let (mut told, mut dropped) = (vec![Vec::new(); 3], vec![Vec::new(); 3]);
        let (mut shown, mut crowded) = (BTreeSet::new(), 0);
        let mut under_way: Vec<(usize, Fact)> = Vec::new();
        let mut now = NOW;
        for (action, n) in actions {
            let pending = status.entry(n).or_default();
            match action {
                0 => {
                    newest[n] += 1;
                    pending.push_back(newest[n]);
                    if pending.len() > 4 {
                        dropped[n].extend(pending.pop_front());
                    }
                }
                1 => {
                    shown.extend(pending.iter().map(|seq| (n, *seq)));
                    crowded += lines.put(&names[n], "u", &notices(pending.iter().copied())).crowded;
                }
                2 => if let Some(fact) = lines.take(now) {
                    let whose = names.iter().position(|name| *name == fact.canary).unwrap();
                    prop_assert!(under_way.iter().all(|(other, _)| *other != whose));
                    under_way.push((whose, fact));
                },
                3 => if let Some((whose, fact)) = under_way.pop() {
                    told[whose].push(fact.notice.seq);
                    lines.pass(&fact, now);
                },
                _ => if let Some((_, fact)) = under_way.pop() {
                    let failures = lines.fail(&fact);
                    let fate = lines.retry(&fact, now + super::verdict::pause(failures));
                    crowded += usize::from(fate == Fate::Crowded);
                    now += Duration::from_millis(400);
                },
            }
            prop_assert!(lines.len() <= 12);
        }
        for (whose, fact) in under_way {
            told[whose].push(fact.notice.seq);
            lines.pass(&fact, now);
        }
        for (n, pending) in &status {
            shown.extend(pending.iter().map(|seq| (*n, *seq)));
            crowded += lines.put(&names[*n], "u", &notices(pending.iter().copied())).crowded;
        }
        now += Duration::from_secs(3600);
        while let Some(fact) = lines.take(now) {
            told[names.iter().position(|name| *name == fact.canary).unwrap()].push(fact.notice.seq);
            lines.pass(&fact, now);
        }
        let all_told: usize = told.iter().map(Vec::len).sum();
        prop_assert_eq!(shown.len(), all_told + crowded, "none vanishes uncounted");
        for n in 0..3 {
            let mut sorted = told[n].clone();
            sorted.sort_unstable();
            sorted.dedup();
            prop_assert_eq!(&sorted, &told[n], "in order, each once");
            for seq in 1..=newest[n] {
                prop_assert!(told[n].contains(&seq) || dropped[n].contains(&seq), "{} is missing", seq);
            }
        }
    }
}
