//! The way of a job at a gate, with a fake Jenkins.

mod order; // which jobs, and what is ordered
mod stopping; // jobs that are not waited for any more

use std::{collections::VecDeque, time::Duration};

use chrono::TimeDelta;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::{
    api::{GatePoint, GateStatus, RevisionStatus},
    clock::SystemClock,
    jenkins::Said,
    leader::{Claim, Epoch},
    rollout::{GateSpec, Steps, Weight},
};

/// Answers what a Jenkins would: one build of a job that takes everything.
#[derive(Default)]
struct Fake {
    asked: Mutex<Vec<Ask>>,
    /// What goes wrong first.
    trouble: Mutex<VecDeque<crate::jenkins::Error>>,
}

#[async_trait]
impl Jenkins for Fake {
    async fn ask(&self, _: &Order, ask: &Ask) -> Answer {
        self.asked.lock().unwrap().push(ask.clone());
        let trouble = self.trouble.lock().unwrap().pop_front();
        let said = match (trouble, ask) {
            (Some(error), _) => Said::Trouble(error),
            (None, Ask::Job) => Said::Ready { next_build: 7 },
            (None, Ask::FindBuild { .. }) => Said::Search(crate::jenkins::Search::None),
            (None, Ask::Trigger) => Said::Triggered(crate::jenkins::Triggered::Queued(item())),
            (None, Ask::Cancel(_)) => Said::Halted(crate::jenkins::Halted::Taken),
            _ => Said::NoItem,
        };
        Answer {
            session: Some("life".to_owned()),
            said,
        }
    }
}

fn item() -> crate::jenkins::ItemId {
    serde_json::from_value(json!(12)).unwrap()
}

fn spec() -> RolloutSpec {
    let job = JenkinsGate {
        instance: "ci".to_owned(),
        job: "team/acceptance".to_owned(),
        parameters: [("TARGET".to_owned(), "$(canaryService).$(namespace)".to_owned())].into(),
    };
    RolloutSpec {
        id: CanaryId {
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        },
        uid: "uid".to_owned(),
        generation: 1,
        deleting: false,
        hand_back: None,
        accepted_policies: String::new(),
        names: Names {
            namespace: "shop".to_owned(),
            target: "web".to_owned(),
            primary: "web-primary".to_owned(),
            apex: "web".to_owned(),
            primary_service: "web-primary".to_owned(),
            canary_service: "web-canary".to_owned(),
        },
        steps: Steps::new(vec![Weight::FULL]).unwrap(),
        promotion_step: None,
        interval: TimeDelta::seconds(10),
        threshold: 1,
        max_blind: TimeDelta::seconds(60),
        reach_assumed: false,
        progress_deadline: TimeDelta::seconds(100),
        reporter: Default::default(),
        metrics: vec![],
        gates: vec![GateSpec {
            name: "acceptance".to_owned(),
            at: GatePoint::PreRollout,
            opens: Opens::Jenkins(job),
            timeout: None,
        }],
        skip_analysis: false,
        suspend: false,
        revert_on_deletion: false,
        has_gateways: true,
        drain: TimeDelta::seconds(5),
    }
}

fn at_the_gate() -> CanaryStatus {
    CanaryStatus {
        phase: Some(Phase::Progressing),
        revision: RevisionStatus {
            current: Some("0123456789abcdef".to_owned()),
            ..RevisionStatus::default()
        },
        gates: vec![GateStatus {
            name: "acceptance".to_owned(),
            at: GatePoint::PreRollout,
            state: GateState::Running,
            since: DateTime::from_timestamp(1_000_000, 0).unwrap(),
            revision: None,
            by: None,
            message: None,
            url: None,
            job: Some("ci team/acceptance".to_owned()),
            run: None,
        }],
        ..CanaryStatus::default()
    }
}

fn gates(fake: &Arc<Fake>, namespaces: &[&str]) -> (Gates, UnboundedReceiver<CanaryId>) {
    let (woken, wakes) = unbounded_channel();
    let namespaces = namespaces.iter().map(|name| Tenant::unlimited(name)).collect();
    let instances = Instances::none().with("ci", fake.clone(), namespaces);
    let leadership = Leadership::alone("test", Arc::new(SystemClock::default()));
    let gates = Gates::new(
        Reloaded::fixed(instances),
        Arc::new(Jitter::seeded(1)),
        leadership,
        woken,
    );
    (gates, wakes)
}

/// Writes news into the status, as a round does.
async fn next(gates: &Gates, wakes: &mut UnboundedReceiver<CanaryId>, status: &mut CanaryStatus) -> GateNews {
    tokio::time::timeout(Duration::from_secs(600), wakes.recv())
        .await
        .unwrap()
        .unwrap();
    let news = gates.news(&spec().id, "uid").remove(0);
    let gate = &mut status.gates[0];
    (gate.run, gate.state, gate.message) = (Some(news.run.clone()), news.state, news.message.clone());
    news
}

/// A minute of paused time goes by.
async fn a_minute() {
    let never = std::future::pending::<()>();
    let _ = tokio::time::timeout(Duration::from_secs(60), never).await;
}

#[tokio::test(start_paused = true)]
async fn next_question_is_asked_only_when_the_status_has_the_answer_to_the_one_before() {
    let fake = Arc::new(Fake::default());
    let (gates, mut wakes) = gates(&fake, &["shop"]);
    let mut status = at_the_gate();
    gates.follow(&spec(), &status);
    next(&gates, &mut wakes, &mut status).await;
    // However often a round looks at an old status, nothing more is asked.
    for _ in 0..5 {
        gates.follow(&spec(), &at_the_gate());
        a_minute().await;
    }
    assert_eq!(*fake.asked.lock().unwrap(), [Ask::Job]);
    gates.follow(&spec(), &status);
    next(&gates, &mut wakes, &mut status).await;
    assert_eq!(*fake.asked.lock().unwrap(), [Ask::Job, Ask::FindItem]);
}

/// A Jenkins behind a proxy that answers 404 while it restarts.
struct Restarting {
    up_at: tokio::time::Instant,
    up: Fake,
}

#[async_trait]
impl Jenkins for Restarting {
    async fn ask(&self, order: &Order, ask: &Ask) -> Answer {
        if tokio::time::Instant::now() >= self.up_at {
            return self.up.ask(order, ask).await;
        }
        Answer {
            session: None,
            said: Said::Unfit(crate::jenkins::Refusal::NoSuchJob),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn jenkins_that_is_restarted_when_it_is_asked_for_a_job_rejects_nothing() {
    let instance = Arc::new(Restarting {
        up_at: tokio::time::Instant::now() + Duration::from_secs(40),
        up: Fake::default(),
    });
    let (woken, mut wakes) = unbounded_channel();
    let instances = Instances::none().with("ci", instance.clone(), vec![Tenant::unlimited("shop")]);
    let leadership = Leadership::alone("test", Arc::new(SystemClock::default()));
    let gates = Gates::new(
        Reloaded::fixed(instances),
        Arc::new(Jitter::seeded(1)),
        leadership,
        woken,
    );
    let mut status = at_the_gate();
    while instance.up.asked.lock().unwrap().is_empty() {
        gates.follow(&spec(), &status);
        let news = next(&gates, &mut wakes, &mut status).await;
        assert_eq!(news.state, GateState::Running, "{news:?}");
        let told = news.message.unwrap_or_default();
        assert!(told.is_empty() || told.contains("no such job"), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn trigger_is_asked_once_and_what_is_written_before_it_makes_a_successor_look_first() {
    let fake = Arc::new(Fake::default());
    let (first, mut wakes) = gates(&fake, &["*"]);
    let mut status = at_the_gate();
    loop {
        first.follow(&spec(), &status);
        let news = next(&first, &mut wakes, &mut status).await;
        if news.message.as_deref() == Some("in the queue of Jenkins") {
            break;
        }
    }
    let triggers = |fake: &Fake| {
        fake.asked
            .lock()
            .unwrap()
            .iter()
            .filter(|ask| **ask == Ask::Trigger)
            .count()
    };
    assert_eq!(triggers(&fake), 1);

    // The process dies after the trigger, before its answer is written: the status says that it may be triggered.
    let clear = json!({"state": "clear", "floor": 7, "session": "life"});
    status.gates[0].run = Some(clear);
    drop(first);
    let (second, mut wakes) = gates(&fake, &["*"]);
    second.follow(&spec(), &status);
    next(&second, &mut wakes, &mut status).await;
    assert_eq!(
        fake.asked.lock().unwrap().last(),
        Some(&Ask::FindItem),
        "it looks"
    );
    assert_eq!(triggers(&fake), 1);
}

#[tokio::test(start_paused = true)]
async fn trouble_is_told_and_decides_nothing() {
    let fake = Arc::new(Fake::default());
    fake.trouble.lock().unwrap().extend([
        crate::jenkins::Error::Unreachable("refused".to_owned()),
        crate::jenkins::Error::Unreachable("refused".to_owned()),
        crate::jenkins::Error::Unauthorized,
    ]);
    let (gates, mut wakes) = gates(&fake, &["shop"]);
    let mut status = at_the_gate();
    gates.follow(&spec(), &status);
    let mut told = Vec::new();
    for _ in 0..3 {
        let news = next(&gates, &mut wakes, &mut status).await;
        assert_eq!(news.state, GateState::Running);
        told.push(news.message);
        gates.follow(&spec(), &status);
    }
    assert!(told[0].as_ref().unwrap().contains("unreachable"));
    assert!(
        told[1].as_ref().unwrap().contains("token is refused"),
        "the same is told once: {told:?}"
    );
    assert_eq!(told[2], None);
}

#[tokio::test(start_paused = true)]
async fn what_is_written_is_behind_until_an_answer_leads_nowhere_else_and_that_is_told() {
    let building = json!({"state": "building", "number": 5, "url": "u"});
    let queued = json!({"state": "queued", "item": 12, "floor": 5});
    for (run, steps) in [(building, 1), (queued, 2)] {
        let fake = Arc::new(Fake::default());
        let (gates, mut wakes) = gates(&fake, &["shop"]);
        let mut status = at_the_gate();
        status.gates[0].run = Some(run);
        for step in 1..=steps {
            gates.follow(&spec(), &status);
            assert!(
                step > 1 || gates.news(&spec().id, "uid").is_empty(),
                "nobody asked yet"
            );
            if steps == 2 && step == 2 {
                // The item is gone, and where its build is, nobody can tell.
                let trouble = crate::jenkins::Error::Unreachable("refused".to_owned());
                fake.trouble.lock().unwrap().push_back(trouble);
            }
            let news = next(&gates, &mut wakes, &mut status).await;
            assert_eq!((news.caught_up, news.state), (step == steps, GateState::Running));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn jenkins_that_is_not_known_or_not_for_this_namespace_is_named() {
    for (namespaces, instance, words) in [
        (["other"], "ci", "not for namespace shop"),
        (["shop"], "nowhere", "no Jenkins is called nowhere"),
    ] {
        let fake = Arc::new(Fake::default());
        let (gates, mut wakes) = gates(&fake, &namespaces);
        let mut spec = spec();
        if let Opens::Jenkins(job) = &mut spec.gates[0].opens {
            job.instance = instance.to_owned();
        }
        let mut status = at_the_gate();
        status.gates[0].job = spec.gates[0].opens.job();
        gates.follow(&spec, &status);
        let news = next(&gates, &mut wakes, &mut status).await;
        assert_eq!(
            news.state,
            GateState::Running,
            "it waits for whoever sets it right"
        );
        assert!(
            news.message.as_ref().unwrap().contains(words),
            "{:?}",
            news.message
        );
        assert!(fake.asked.lock().unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn jenkins_that_is_not_known_any_more_takes_nothing_from_what_is_known_of_an_order() {
    let fake = Arc::new(Fake::default());
    let (gates, mut wakes) = gates(&fake, &["other"]);
    let building = json!({"state": "building", "number": 5, "url": "u"});
    let mut status = at_the_gate();
    status.gates[0].run = Some(building.clone());
    gates.follow(&spec(), &status);
    let news = next(&gates, &mut wakes, &mut status).await;
    assert_eq!(news.run, building);
    let told = news.message.unwrap();
    assert!(told.contains("not for namespace shop"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn loss_of_leadership_for_a_moment_does_not_end_the_way() {
    let fake = Arc::new(Fake::default());
    let (woken, mut wakes) = unbounded_channel();
    let instances = Instances::none().with("ci", fake.clone(), vec![Tenant::unlimited("shop")]);
    let (leadership, lead) = Leadership::elected("test", Arc::new(SystemClock::default()));
    let gates = Gates::new(
        Reloaded::fixed(instances),
        Arc::new(Jitter::seeded(1)),
        leadership,
        woken,
    );
    let mut status = at_the_gate();
    gates.follow(&spec(), &status);
    a_minute().await;
    assert!(
        fake.asked.lock().unwrap().is_empty(),
        "nothing is asked by whoever does not lead"
    );
    let claim = Claim {
        epoch: Epoch::new(1, "test"),
        until: Duration::MAX,
    };
    lead.send_replace(Some(claim));
    next(&gates, &mut wakes, &mut status).await;
    assert_eq!(*fake.asked.lock().unwrap(), [Ask::Job]);
}
