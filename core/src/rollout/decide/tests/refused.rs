//! Writes that the API server refuses.

use super::*;
use crate::rollout::RefusedWrite;

pub(super) fn refused(times: u32) -> Vec<RefusedWrite> {
    vec![RefusedWrite {
        act: "route",
        fence: false,
        object: "VirtualService shop".to_owned(),
        message: "denied by policy freeze-mesh".to_owned(),
        since: at(5),
        times,
    }]
}

#[test]
fn write_that_is_refused_twice_is_a_hold_with_the_words_of_the_server() {
    let mut seen = first_step(Reading::NoData);
    seen.sample = None;
    seen.refused = refused(1);
    let once = decide(&spec(), &seen, at(3));
    assert!(
        once.acts
            .iter()
            .all(|act| !matches!(act, Act::Record(s) if s.hold.is_some()))
    );
    seen.refused = refused(2);
    let twice = decide(&spec(), &seen, at(3));
    let hold = recorded(&twice.acts[0]).hold.clone().unwrap();
    assert_eq!(hold.reason, HoldReason::WriteRefused);
    assert!(
        hold.message.contains("denied by policy freeze-mesh"),
        "{}",
        hold.message
    );
    seen.status = recorded(&twice.acts[0]).clone();
    seen.refused = refused(7);
    assert_eq!(decide(&spec(), &seen, at(4)).acts, [], "it costs one write");
}

/// The verdict falls whatever is refused, and is recorded after the weight.
#[test]
fn refusals_keep_nobody_from_a_verdict() {
    let mut seen = first_step(Reading::Value(0.0));
    seen.refused = refused(3);
    let decision = decide(&spec(), &seen, at(10));
    assert!(
        decision.acts.contains(&Act::Route(Weight::ZERO)),
        "{:?}",
        decision.acts
    );
    let last = decision.acts.iter().rev().find_map(|act| match act {
        Act::Record(status) => Some(status),
        _ => None,
    });
    assert!(last.is_some_and(|status| status.retirement.is_some()));
}

/// A quota refuses the primary's new template; the write is tried again and again.
#[test]
fn promotion_that_is_refused_is_told_once() {
    let mut seen = promoting_at_half(Reading::Value(100.0), pods("a", "1", 2, 2));
    seen.target = Some(pods("b", "2", 2, 2));
    let (mut told, mut tried) = (0, 0);
    for now in 10..40 {
        good_value(&mut seen, now);
        let before = seen.status.outbox.seq;
        let acts = carry_out(&mut seen, now, &spec());
        told += news(&seen, before)
            .iter()
            .filter(|reason| *reason == "Promoting")
            .count();
        if acts.iter().any(|act| matches!(act, Act::Promote { .. })) {
            tried += 1;
            seen.refused = vec![RefusedWrite {
                act: "writing the primary",
                fence: false,
                object: "Deployment/shop-primary".to_owned(),
                message: "exceeded quota".to_owned(),
                since: at(10),
                times: tried,
            }];
        }
    }
    assert!(tried > 2, "{tried}: {:?}", seen.status.all_holds());
    assert_eq!(told, 1);
}
