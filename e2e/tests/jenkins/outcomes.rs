//! What becomes of one request.

use std::collections::BTreeMap;
use std::time::Duration;

use bellwether::jenkins::{Error, Halted, ItemId, ItemState, JobPath, Refusal, Triggered};
use bellwether_e2e::jenkins::{Fault, Job, Parameter, Queue, Quirk, Settings, User};

use super::bench::{JOB, MARK, client, jenkins, jenkins_with, order};

fn path(text: &str) -> JobPath {
    JobPath::parse(text).unwrap()
}

fn parameters() -> BTreeMap<String, String> {
    order().all_parameters()
}

fn user(change: impl Fn(&mut User)) -> Settings {
    let mut settings = Settings::default();
    settings.users.values_mut().for_each(change);
    settings
}

#[tokio::test]
async fn a_trigger_makes_an_item_and_an_equal_one_is_merged_with_it() {
    let jenkins = jenkins().await;
    let client = client(&jenkins);
    let first = client.trigger(&path(JOB), &parameters()).await;
    assert_eq!(first, Ok(Triggered::Queued(ItemId(1))));
    let second = client.trigger(&path(JOB), &parameters()).await;
    assert_eq!(second, Ok(Triggered::Merged(ItemId(1))));
    let mut other = parameters();
    other.insert(MARK.to_owned(), "p-2".to_owned());
    let third = client.trigger(&path(JOB), &other).await;
    assert_eq!(third, Ok(Triggered::Queued(ItemId(2))));
}

#[tokio::test]
async fn every_refusal_of_a_trigger_is_told_apart() {
    let jenkins = jenkins().await;
    let client = client(&jenkins);
    let refused = async |job: &str| match client.trigger(&path(job), &parameters()).await.unwrap() {
        Triggered::Refused(why) => why,
        other => panic!("{job}: {other:?}"),
    };
    {
        let mut world = jenkins.world();
        world.add_job("disabled", Job::new(&[MARK]));
        world.job("disabled").disabled = true;
        world.add_job("closed/deploy", Job::new(&[MARK]));
        world.job("closed").disabled = true;
        world.add_job("plain", Job::new(&[]));
        world.add_job("old", Job::new(&[]));
        world.job("old").quirk = Quirk::OldCore;
        world.add_job("choosy", Job::new(&[]));
        world.job("choosy").parameters = vec![Parameter::choice(MARK, &["a", "b"])];
    }
    assert_eq!(refused("disabled").await, Refusal::Disabled);
    assert_eq!(refused("closed/deploy").await, Refusal::Disabled);
    assert_eq!(refused("plain").await, Refusal::NotParameterized);
    assert_eq!(refused("old").await, Refusal::NotParameterized);
    assert!(matches!(refused("choosy").await, Refusal::BadRequest { .. }));
    assert_eq!(refused("nowhere").await, Refusal::NoSuchJob);
    let next = jenkins.world().log.len();
    jenkins
        .world()
        .faults
        .insert(next, Fault::Answer(405, "POST only".to_owned()));
    assert_eq!(refused(JOB).await, Refusal::MethodNotAllowed);
}

#[tokio::test]
async fn what_a_user_may_not_is_refused() {
    let no_build = jenkins_with(user(|user| user.builds = false)).await;
    let answer = client(&no_build).trigger(&path(JOB), &parameters()).await;
    assert!(
        matches!(answer, Ok(Triggered::Refused(Refusal::Forbidden { text })) if text.contains("Job/Build"))
    );
    let no_read = jenkins_with(user(|user| user.reads = false)).await;
    let answer = client(&no_read).trigger(&path(JOB), &parameters()).await;
    assert_eq!(answer, Ok(Triggered::Refused(Refusal::NoSuchJob)));
    assert_eq!(client(&no_read).job(&path(JOB)).await, Ok(None));
    let no_cancel = jenkins_with(user(|user| user.cancels = false)).await;
    let client = client(&no_cancel);
    client.trigger(&path(JOB), &parameters()).await.unwrap();
    assert_eq!(client.cancel(ItemId(1)).await, Ok(Halted::Denied));
    no_cancel.world().job(JOB).script.takes = None;
    no_cancel.advance(Duration::from_secs(10));
    assert_eq!(client.stop(&path(JOB), 1).await, Ok(Halted::Denied));
}

#[tokio::test]
async fn a_job_without_parameters_is_built_plainly() {
    let jenkins = jenkins().await;
    jenkins.world().add_job("plain", Job::new(&[]));
    let answer = client(&jenkins).trigger(&path("plain"), &BTreeMap::new()).await;
    assert_eq!(answer, Ok(Triggered::Queued(ItemId(1))));
    let log = jenkins.world().log.clone();
    assert_eq!(log, ["POST /job/plain/build 201"]);
}

#[tokio::test]
async fn an_item_is_followed_through_all_its_places() {
    let settings = Settings {
        executors: 1,
        ..Settings::default()
    };
    let jenkins = jenkins_with(settings).await;
    jenkins.world().add_job("other", Job::new(&[]));
    jenkins.world().job("other").script.takes = None;
    jenkins.world().job(JOB).blocked = true;
    let client = client(&jenkins);
    let place = async || client.item(ItemId(2)).await.unwrap().unwrap().state;
    let second = || jenkins.advance(Duration::from_secs(1));
    client.trigger(&path("other"), &BTreeMap::new()).await.unwrap();
    client.trigger(&path(JOB), &parameters()).await.unwrap();
    assert_eq!(place().await, ItemState::Waiting);
    second();
    assert_eq!(place().await, ItemState::Blocked);
    jenkins.world().job(JOB).blocked = false;
    assert_eq!(place().await, ItemState::Blocked);
    second();
    assert_eq!(place().await, ItemState::Buildable);
    jenkins.advance(Duration::from_secs(2));
    jenkins.world().end_build("other", 1, "SUCCESS");
    second();
    assert_eq!(place().await, ItemState::Pending);
    second();
    assert_eq!(place().await, ItemState::Left(None));
    second();
    let ItemState::Left(Some(build)) = place().await else {
        panic!()
    };
    assert_eq!(
        (build.number, build.url),
        (1, format!("{}/job/team/job/deploy/1/", jenkins.url()))
    );
    jenkins.advance(Duration::from_secs(301));
    assert_eq!(client.item(ItemId(2)).await, Ok(None));
}

#[tokio::test]
async fn an_item_is_cancelled_once() {
    let jenkins = jenkins().await;
    let client = client(&jenkins);
    client.trigger(&path(JOB), &parameters()).await.unwrap();
    assert_eq!(client.cancel(ItemId(1)).await, Ok(Halted::Taken));
    assert_eq!(client.cancel(ItemId(1)).await, Ok(Halted::Gone));
    assert_eq!(client.cancel(ItemId(99)).await, Ok(Halted::Gone));
    let item = client.item(ItemId(1)).await.unwrap().unwrap();
    assert_eq!(item.state, ItemState::Cancelled);
}

#[tokio::test]
async fn names_contexts_and_wrong_hosts_are_no_obstacle() {
    let settings = Settings {
        context: "/ci".to_owned(),
        believes: Some("http://build.internal:8080/jenkins".to_owned()),
        ..Settings::default()
    };
    let jenkins = jenkins_with(settings).await;
    let odd = "team a/feature%2Fx/ü? & more";
    jenkins.world().add_job(odd, Job::new(&[MARK, "VERSION"]));
    let client = client(&jenkins);
    let triggered = client.trigger(&path(odd), &parameters()).await;
    assert_eq!(triggered, Ok(Triggered::Queued(ItemId(1))));
    jenkins.advance(Duration::from_secs(5));
    let ItemState::Left(Some(build)) = client.item(ItemId(1)).await.unwrap().unwrap().state else {
        panic!()
    };
    assert!(build.url.starts_with(&jenkins.url()), "{}", build.url);
    let seen = client.build(&path(odd), build.number).await.unwrap().unwrap();
    assert_eq!(seen.url, build.url);
    let job = client.job(&path(odd)).await.unwrap().unwrap();
    assert_eq!(job.parameters.len(), 2);
}

#[tokio::test]
async fn what_is_no_answer_is_neither_a_failure_nor_a_success() {
    let mut jenkins = jenkins().await;
    let client = client(&jenkins);
    let meet = async |fault: Fault| {
        let next = jenkins.world().log.len();
        jenkins.world().faults.insert(next, fault);
        client.build(&path(JOB), 1).await.unwrap_err()
    };
    let page = "<html><body>Welcome to the proxy</body></html>".to_owned();
    assert_eq!(
        meet(Fault::Answer(200, page)).await,
        Error::Html("Welcome to the proxy Welcome to the proxy".to_owned()).clone()
    );
    assert!(matches!(meet(Fault::LoseAnswer).await, Error::Unreachable(_)));
    assert_eq!(meet(Fault::Hang).await, Error::Timeout);
    for code in [429, 500, 502, 503, 504] {
        let error = meet(Fault::Answer(code, "busy".to_owned())).await;
        assert!(matches!(error, Error::Server { code: c, .. } if c == code));
        assert!(error.passes());
    }
    assert!(matches!(
        meet(Fault::Answer(403, "no".to_owned())).await,
        Error::Forbidden { .. }
    ));
    jenkins.stop(Queue::Kept).await;
    let error = client.build(&path(JOB), 1).await.unwrap_err();
    assert!(
        matches!(&error, Error::Unreachable(why) if why.contains("refused")),
        "{error}"
    );
    jenkins.start_again().await.unwrap();
    let error = client.build(&path(JOB), 1).await.unwrap_err();
    assert!(
        matches!(&error, Error::Server { code: 503, text } if text.contains("getting ready")),
        "{error}"
    );
}

#[tokio::test]
async fn a_build_that_runs_is_stopped() {
    let jenkins = jenkins().await;
    jenkins.world().job(JOB).script.takes = None;
    let client = client(&jenkins);
    client.trigger(&path(JOB), &parameters()).await.unwrap();
    jenkins.advance(Duration::from_secs(5));
    assert!(client.build(&path(JOB), 1).await.unwrap().unwrap().running);
    assert_eq!(client.stop(&path(JOB), 1).await, Ok(Halted::Taken));
    // The log is still open.
    assert_eq!(client.build(&path(JOB), 1).await.unwrap().unwrap().ended(), None);
    jenkins.advance(Duration::from_secs(1));
    let ended = client.build(&path(JOB), 1).await.unwrap().unwrap().ended();
    assert_eq!(ended, Some(bellwether::jenkins::BuildResult::Aborted));
    assert_eq!(client.stop(&path(JOB), 9).await, Ok(Halted::Gone));
}
