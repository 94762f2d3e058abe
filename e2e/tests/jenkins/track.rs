//! One order on its way, with nobody dying.

use std::time::Duration;

use bellwether::jenkins::{BuildResult, Halt, ItemId, Refusal, Run, State, pause};
use bellwether::jitter::Jitter;
use bellwether_e2e::jenkins::{Build, Fault, Job, Queue, Quirk, Settings};

use super::bench::{
    JOB, MARK, client, jenkins, jenkins_with, order, order_of, requests, reread, result, step, to_the_end,
    traces, until,
};

fn queued(state: &State) -> bool {
    matches!(state, State::Queued { .. })
}

fn building(state: &State) -> bool {
    matches!(state, State::Building { .. })
}

#[tokio::test]
async fn every_result_arrives_also_one_that_was_set_early() {
    use BuildResult::*;
    let all = [
        ("SUCCESS", Success),
        ("UNSTABLE", Unstable),
        ("FAILURE", Failure),
        ("NOT_BUILT", NotBuilt),
        ("ABORTED", Aborted),
    ];
    for (at, (text, expected)) in all.into_iter().enumerate() {
        let jenkins = jenkins().await;
        jenkins.world().job(JOB).script.result = text.to_owned();
        jenkins.world().job(JOB).script.early = at % 2 == 0;
        let run = to_the_end(&jenkins, &order(), Run::wanted()).await;
        assert_eq!(result(&run), expected);
        assert_eq!(traces(&jenkins, &order()), (1, 0));
    }
}

#[tokio::test]
async fn an_early_result_is_not_the_end() {
    let jenkins = jenkins().await;
    jenkins.world().job(JOB).script.takes = None;
    jenkins.world().job(JOB).script.early = true;
    let mut run = until(&jenkins, &order(), Run::wanted(), building).await;
    for _ in 0..5 {
        run = step(&jenkins, &client(&jenkins), &order(), run).await.0;
        assert!(building(run.state()));
    }
    jenkins.world().end_build(JOB, 1, "FAILURE");
    assert_eq!(
        result(&to_the_end(&jenkins, &order(), run).await),
        BuildResult::Failure
    );
}

#[tokio::test]
async fn what_the_job_does_not_declare_is_named_and_nothing_is_triggered() {
    let jenkins = jenkins().await;
    jenkins.world().add_job(JOB, Job::new(&["VERSION"]));
    let run = to_the_end(&jenkins, &order(), Run::wanted()).await;
    let why = Refusal::Undeclared {
        names: vec![MARK.to_owned()],
    };
    assert_eq!(*run.state(), State::Refused { why });
    assert_eq!(requests(&jenkins, "POST"), 0);
    let run = to_the_end(&jenkins, &order_of("nowhere", "p-1"), Run::wanted()).await;
    assert!(matches!(
        run.state(),
        State::Refused {
            why: Refusal::NoSuchJob
        }
    ));
}

#[tokio::test]
async fn two_orders_of_one_job_are_two_builds_although_both_wait() {
    let jenkins = jenkins().await;
    let (one, two) = (order_of(JOB, "p-1"), order_of(JOB, "p-2"));
    let first = until(&jenkins, &one, Run::wanted(), queued).await;
    let second = until(&jenkins, &two, Run::wanted(), queued).await;
    to_the_end(&jenkins, &one, first).await;
    to_the_end(&jenkins, &two, second).await;
    assert_eq!((traces(&jenkins, &one), traces(&jenkins, &two)), ((1, 0), (1, 0)));
}

#[tokio::test]
async fn one_mark_for_two_jobs_is_a_build_of_each() {
    let jenkins = jenkins().await;
    jenkins.world().add_job("verify", Job::new(&[MARK, "VERSION"]));
    let (one, two) = (order(), order_of("verify", "p-1"));
    let first = until(&jenkins, &one, Run::wanted(), queued).await;
    to_the_end(&jenkins, &two, Run::wanted()).await;
    to_the_end(&jenkins, &one, first).await;
    assert_eq!((traces(&jenkins, &one), traces(&jenkins, &two)), ((1, 0), (1, 0)));
}

#[tokio::test]
async fn a_run_that_was_forgotten_finds_its_build_instead_of_triggering_again() {
    let settings = Settings {
        gap: Duration::ZERO,
        ..Settings::default()
    };
    let jenkins = jenkins_with(settings).await;
    for enough in [queued, building] {
        until(&jenkins, &order(), Run::wanted(), enough).await;
    }
    to_the_end(&jenkins, &order(), Run::wanted()).await;
    assert_eq!(traces(&jenkins, &order()), (1, 0));
    assert_eq!(requests(&jenkins, "POST"), 1);
}

#[tokio::test]
async fn after_an_hour_away_the_build_is_found_behind_hundreds_of_newer_ones() {
    for newer in [0, 50, 350] {
        let jenkins = jenkins().await;
        let run = until(&jenkins, &order(), Run::wanted(), queued).await;
        jenkins.advance(Duration::from_secs(3600));
        let other = |item| Build {
            item,
            parameters: vec![(MARK.to_owned(), format!("other-{item}"))],
            began: Duration::ZERO,
            ended: Some((Duration::ZERO, "FAILURE".to_owned())),
            description: None,
        };
        let builds = (0..newer).map(|n| (2 + n, other(100 + n)));
        jenkins.world().job(JOB).builds.extend(builds);
        let run = to_the_end(&jenkins, &order(), reread(&run)).await;
        assert_eq!(result(&run), BuildResult::Success, "{newer}");
        assert_eq!(traces(&jenkins, &order()), (1, 0));
    }
}

#[tokio::test]
async fn a_search_does_not_read_builds_from_before_the_order() {
    let jenkins = jenkins().await;
    {
        let mut world = jenkins.world();
        let job = world.job(JOB);
        job.next_build = 1001;
        let old = Build {
            item: 0,
            parameters: Vec::new(),
            began: Duration::ZERO,
            ended: Some((Duration::ZERO, "SUCCESS".to_owned())),
            description: None,
        };
        job.builds.extend((1..=1000).map(|number| (number, old.clone())));
    }
    let next = 3;
    jenkins.world().faults.insert(next, Fault::LoseRequest);
    let run = to_the_end(&jenkins, &order(), Run::wanted()).await;
    assert_eq!(result(&run), BuildResult::Success);
    // A first look, and three after the trigger that was lost.
    assert_eq!(requests(&jenkins, "GET /job/team/job/deploy/api/json"), 1 + 4);
}

#[tokio::test]
async fn somebody_elses_cancellation_is_not_undone_whether_it_was_seen_or_not() {
    let mut ends = Vec::new();
    for away in [1, 3600] {
        let jenkins = jenkins().await;
        jenkins.world().job(JOB).blocked = true;
        let run = until(&jenkins, &order(), Run::wanted(), queued).await;
        client(&jenkins).cancel(ItemId(1)).await.unwrap();
        jenkins.advance(Duration::from_secs(away));
        let run = to_the_end(&jenkins, &order(), reread(&run)).await;
        assert_eq!(traces(&jenkins, &order()), (0, 0));
        ends.push(run.state().clone());
    }
    assert_eq!(ends, [State::Cancelled, State::Lost]);
}

#[tokio::test]
async fn an_item_with_our_number_after_a_lost_queue_is_not_taken_for_ours() {
    let mut jenkins = jenkins().await;
    jenkins.world().add_job("other", Job::new(&["X"]));
    let run = until(&jenkins, &order(), Run::wanted(), queued).await;
    jenkins.stop(Queue::Lost).await;
    jenkins.start_again().await.unwrap();
    jenkins.advance(Duration::from_secs(10));
    let other = bellwether::jenkins::JobPath::parse("other").unwrap();
    let parameters = [("X".to_owned(), "1".to_owned())].into();
    client(&jenkins).trigger(&other, &parameters).await.unwrap();
    assert!(jenkins.world().place(1).is_some());
    let run = to_the_end(&jenkins, &order(), run).await;
    assert_eq!(result(&run), BuildResult::Success);
    assert_eq!(traces(&jenkins, &order()), (1, 0));
}

#[tokio::test]
async fn sent_back_is_refused_by_a_veto_and_taken_by_an_old_core() {
    let jenkins = jenkins().await;
    jenkins.world().job(JOB).quirk = Quirk::Veto;
    let run = to_the_end(&jenkins, &order(), Run::wanted()).await;
    assert!(matches!(run.state(), State::Refused { why: Refusal::Vetoed }));
    jenkins.world().job(JOB).quirk = Quirk::OldCore;
    let run = to_the_end(&jenkins, &order(), Run::wanted()).await;
    assert_eq!(result(&run), BuildResult::Success);
    assert_eq!(traces(&jenkins, &order()), (1, 0));
}

#[tokio::test]
async fn withdrawn_at_any_time_it_does_not_run() {
    for at in 0..12 {
        let jenkins = jenkins().await;
        jenkins.world().job(JOB).script.takes = None;
        let mut run = Run::wanted();
        for _ in 0..at {
            run = step(&jenkins, &client(&jenkins), &order(), run).await.0;
        }
        let run = to_the_end(&jenkins, &order(), reread(&run.withdrawn())).await;
        match run.state() {
            State::Ended { result, .. } => assert_eq!(*result, BuildResult::Aborted),
            other => assert_eq!(*other, State::Cancelled, "{at}"),
        }
        let running = |build: &Build| build.ended.is_none();
        assert!(!jenkins.world().job(JOB).builds.values().any(running));
        assert_eq!(traces(&jenkins, &order()).1, 0);
    }
}

#[tokio::test]
async fn withdrawn_without_the_permission_it_is_followed_to_its_end() {
    let mut settings = Settings::default();
    settings.users.values_mut().for_each(|user| user.cancels = false);
    let jenkins = jenkins_with(settings).await;
    let run = until(&jenkins, &order(), Run::wanted(), queued).await;
    let run = to_the_end(&jenkins, &order(), run.withdrawn()).await;
    assert_eq!(result(&run), BuildResult::Success);
    assert_eq!(run.halt(), Halt::Denied);
}

#[tokio::test]
async fn a_build_that_was_deleted_is_lost() {
    let jenkins = jenkins().await;
    let run = until(&jenkins, &order(), Run::wanted(), building).await;
    jenkins.world().job(JOB).builds.clear();
    let run = to_the_end(&jenkins, &order(), run).await;
    assert_eq!(*run.state(), State::Lost);
}

#[tokio::test]
async fn an_hour_of_polling_costs_a_few_hundred_requests() {
    let jenkins = jenkins().await;
    jenkins.world().job(JOB).script.takes = Some(Duration::from_secs(3600));
    let (client, jitter) = (client(&jenkins), Jitter::seeded(1));
    let (mut run, mut waited) = (Run::wanted(), Duration::ZERO);
    while !run.is_over() {
        let answer = client.ask(&order(), &run.next()).await;
        run = run.saw(answer);
        if run.is_waiting() {
            let pause = pause(waited, &jitter);
            jenkins.advance(pause);
            waited += pause;
        }
    }
    assert_eq!(result(&run), BuildResult::Success);
    let asked = jenkins.world().log.len();
    assert!((250..500).contains(&asked), "{asked}");
}
