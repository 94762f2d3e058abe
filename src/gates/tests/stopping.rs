//! Jobs that are not waited for any more.

use super::*;

/// A job at the gate that is in the queue of Jenkins.
async fn queued(fake: &Arc<Fake>) -> (Gates, UnboundedReceiver<CanaryId>, CanaryStatus) {
    let (gates, mut wakes) = gates(fake, &["shop"]);
    let mut status = at_the_gate();
    loop {
        gates.follow(&spec(), &status);
        let news = next(&gates, &mut wakes, &mut status).await;
        if news.message.as_deref() == Some("in the queue of Jenkins") {
            gates.follow(&spec(), &status);
            return (gates, wakes, status);
        }
    }
}

/// Whether the job was cancelled, once all that goes on has had its time.
async fn cancelled(fake: &Fake) -> bool {
    a_minute().await;
    fake.asked.lock().unwrap().contains(&Ask::Cancel(item()))
}

#[tokio::test(start_paused = true)]
async fn suspending_leaves_the_job_alone_and_what_is_not_waited_for_any_more_is_stopped() {
    let fake = Arc::new(Fake::default());
    let (gates, _wakes, status) = queued(&fake).await;
    let suspended = RolloutSpec {
        suspend: true,
        ..spec()
    };
    gates.follow(&suspended, &status);
    let before = fake.asked.lock().unwrap().len();
    assert!(!cancelled(&fake).await);
    assert_eq!(fake.asked.lock().unwrap().len(), before, "hands off");

    gates.follow(&spec(), &status);
    let over = CanaryStatus {
        phase: Some(Phase::Failed),
        ..status
    };
    gates.follow(&spec(), &over);
    assert!(cancelled(&fake).await);
}

#[tokio::test(start_paused = true)]
async fn way_of_one_job_is_not_gone_on_with_another_job() {
    let fake = Arc::new(Fake::default());
    let (gates, _wakes, status) = queued(&fake).await;
    gates.forget(&spec().id);
    let mut other = spec();
    if let Opens::Jenkins(job) = &mut other.gates[0].opens {
        job.job = "team/other".to_owned();
    }
    let before = fake.asked.lock().unwrap().len();
    gates.follow(&other, &status);
    a_minute().await;
    assert_eq!(
        fake.asked.lock().unwrap().len(),
        before,
        "the release has not come to it"
    );
    assert!(gates.news(&other.id, "uid").is_empty());
}

/// The status after a decision that let go of the gate.
fn let_go(status: &CanaryStatus) -> CanaryStatus {
    CanaryStatus {
        gates: vec![],
        ..status.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn job_of_a_gate_before_an_analysis_that_is_skipped_is_stopped_and_no_other_begun() {
    let fake = Arc::new(Fake::default());
    let (gates, _wakes, status) = queued(&fake).await;
    let skipping = RolloutSpec {
        skip_analysis: true,
        ..spec()
    };
    gates.follow(&skipping, &let_go(&status));
    assert!(cancelled(&fake).await);
    let before = fake.asked.lock().unwrap().len();
    gates.follow(&skipping, &status);
    a_minute().await;
    assert_eq!(fake.asked.lock().unwrap().len(), before);
}

#[tokio::test(start_paused = true)]
async fn job_of_a_gate_that_was_edited_away_is_stopped_where_it_was_ordered_in_spite_of_trouble() {
    let fake = Arc::new(Fake::default());
    let (gates, _wakes, status) = queued(&fake).await;
    let trouble = crate::jenkins::Error::Unreachable("refused".to_owned());
    *fake.trouble.lock().unwrap() = [trouble.clone(), trouble].into();
    let without = RolloutSpec {
        gates: vec![],
        ..spec()
    };
    gates.follow(&without, &let_go(&status));
    assert!(cancelled(&fake).await);
}

#[tokio::test(start_paused = true)]
async fn job_of_a_gate_that_was_edited_away_goes_on_until_the_status_has_let_go_of_it() {
    let fake = Arc::new(Fake::default());
    let (gates, _wakes, status) = queued(&fake).await;
    let mut other = spec();
    other.gates[0].opens = Opens::Approval {
        not_by_requester: false,
    };
    let without = RolloutSpec {
        gates: vec![],
        ..spec()
    };
    let skipping = RolloutSpec {
        skip_analysis: true,
        ..spec()
    };
    for edited in [other, without, skipping] {
        // Something keeps rounds from deciding; and before they do, it is all as it was.
        gates.follow(&edited, &status);
        assert!(!cancelled(&fake).await);
        gates.follow(&spec(), &status);
    }
    let asked = |ask: &Ask| fake.asked.lock().unwrap().iter().filter(|a| *a == ask).count();
    assert_eq!(asked(&Ask::Trigger), 1, "it is one order");
}
