//! Many Promotions and orders of one Canary: one more of each costs as much as the one before.

use std::{collections::BTreeMap, time::Instant};

use bellwether::{
    api::{
        CanaryRef, CanaryStatus, CommandSpec, CommandStatus, Conflict, Phase, Policy, PromotionSpec,
        PromotionStatus, Requester, Verb,
    },
    promotion::{self, Form, Seen, SeenCommand, SeenPromotion, Target},
};
use chrono::DateTime;

fn promotion(n: usize) -> SeenPromotion {
    SeenPromotion {
        name: format!("p-{n}"),
        uid: format!("uid-{n}"),
        created_at: DateTime::UNIX_EPOCH,
        client_seen_at: None,
        spec: PromotionSpec {
            canary_ref: CanaryRef {
                name: "web".to_owned(),
            },
            image: Some("web:2".to_owned()),
            images: None,
            r#await: None,
            requester: Requester::default(),
            policy: Policy {
                conflict: Conflict::Supersede,
                ..Policy::default()
            },
            request_digest: None,
        },
        status: PromotionStatus::default(),
        unreadable: None,
    }
}

fn abort(n: usize) -> SeenCommand {
    SeenCommand {
        form: Form::Command,
        name: format!("c-{n}"),
        uid: format!("uid-c-{n}"),
        created_at: DateTime::UNIX_EPOCH,
        spec: CommandSpec {
            canary_ref: CanaryRef {
                name: "web".to_owned(),
            },
            verb: Verb::Abort,
            revision: None,
            promotion: Some(format!("p-{n}")),
            action: None,
            reason: None,
            requested_by: "mia".to_owned(),
            on_behalf_of: Vec::new(),
        },
        gate: None,
        status: CommandStatus::default(),
        unreadable: None,
    }
}

/// Seconds that a decision about `n` of each takes.
#[expect(clippy::disallowed_methods, reason = "what it costs is measured")]
fn seconds(n: usize) -> f64 {
    let canary = CanaryStatus {
        phase: Some(Phase::Initialized),
        ..CanaryStatus::default()
    };
    let seen = Seen {
        canary: &canary,
        deleting: false,
        target: Some(Target {
            revision: "old".to_owned(),
            images: BTreeMap::from([("app".to_owned(), "web:1".to_owned())]),
        }),
        promotions: (0..n).map(promotion).collect(),
        commands: (0..n).map(abort).collect(),
        frozen: None,
        hands_off: None,
        deaf: None,
        fenced: true,
    };
    let begun = Instant::now();
    let decision = promotion::decide(&seen, DateTime::UNIX_EPOCH);
    assert_eq!(decision.acts.len(), n, "each is called off");
    begun.elapsed().as_secs_f64()
}

#[test]
fn decisions_about_many_promotions_and_orders_take_linear_time() {
    let least = |n: usize| (0..5).map(|_| seconds(n)).fold(f64::MAX, f64::min);
    let (few, more) = (least(250), least(2000));
    assert!(
        more < few * 32.0,
        "8 times as many take {:.0} times as long",
        more / few
    );
}
