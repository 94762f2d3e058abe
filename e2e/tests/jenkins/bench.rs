//! A fake Jenkins with one order for it.

use std::time::Duration;

use bellwether::jenkins::{
    Answer, BuildResult, Client, JobPath, Login, Mark, Order, Run, Said, State, Timeouts,
};
use bellwether_e2e::jenkins::{FakeJenkins, Job, Settings};

pub(crate) const JOB: &str = "team/deploy";
pub(crate) const MARK: &str = "PROMOTION_ID";
pub(crate) const PAUSE: Duration = Duration::from_secs(2);

pub(crate) fn token() -> Login {
    Login::Token {
        user: "admin".to_owned(),
        token: "admin-token".to_owned(),
    }
}

pub(crate) fn password() -> Login {
    Login::Password {
        user: "admin".to_owned(),
        password: "admin".to_owned(),
    }
}

pub(crate) fn client_as(jenkins: &FakeJenkins, login: Login) -> Client {
    _ = rustls::crypto::ring::default_provider().install_default();
    let timeouts = Timeouts {
        connect: Duration::from_secs(2),
        total: Duration::from_secs(2),
    };
    Client::new(&jenkins.url(), login, timeouts, None).unwrap()
}

pub(crate) fn client(jenkins: &FakeJenkins) -> Client {
    client_as(jenkins, token())
}

pub(crate) fn order_of(job: &str, value: &str) -> Order {
    Order {
        job: JobPath::parse(job).unwrap(),
        parameters: [("VERSION".to_owned(), "1.2 & more".to_owned())].into(),
        mark: Mark {
            name: MARK.to_owned(),
            value: value.to_owned(),
        },
    }
}

pub(crate) fn order() -> Order {
    order_of(JOB, "p-1")
}

/// A Jenkins whose time stands still, with the job of [`order`].
pub(crate) async fn jenkins_with(settings: Settings) -> FakeJenkins {
    let jenkins = FakeJenkins::start_still(settings).await.unwrap();
    jenkins.world().add_job(JOB, Job::new(&[MARK, "VERSION"]));
    jenkins
}

pub(crate) async fn jenkins() -> FakeJenkins {
    jenkins_with(Settings::default()).await
}

/// The same run in another process, which knows only what was written down.
pub(crate) fn reread(run: &Run) -> Run {
    serde_json::from_str(&serde_json::to_string(run).unwrap()).unwrap()
}

/// One question and its answer, and the time that passes until the next.
pub(crate) async fn step(jenkins: &FakeJenkins, client: &Client, order: &Order, run: Run) -> (Run, Answer) {
    let answer = client.ask(order, &run.next()).await;
    let run = run.saw(answer.clone());
    if run.is_waiting() || matches!(answer.said, Said::Trouble(_)) {
        jenkins.advance(PAUSE);
    }
    (run, answer)
}

/// Asks until `enough`, or until it is over.
pub(crate) async fn until(
    jenkins: &FakeJenkins,
    order: &Order,
    mut run: Run,
    enough: impl Fn(&State) -> bool,
) -> Run {
    let client = client(jenkins);
    for _ in 0..300 {
        if run.is_over() || enough(run.state()) {
            return run;
        }
        run = step(jenkins, &client, order, run).await.0;
    }
    panic!("it does not end: {run:?}");
}

pub(crate) async fn to_the_end(jenkins: &FakeJenkins, order: &Order, run: Run) -> Run {
    until(jenkins, order, run, |_| false).await
}

pub(crate) fn result(run: &Run) -> BuildResult {
    match run.state() {
        State::Ended { result, .. } => *result,
        other => panic!("it has no result: {other:?}"),
    }
}

/// How many builds, and items that may become builds, have the mark of `order`.
pub(crate) fn traces(jenkins: &FakeJenkins, order: &Order) -> (usize, usize) {
    let job = order.job.to_string();
    jenkins.world().traces(&job, &order.mark.name, &order.mark.value)
}

/// How many requests begin like this.
pub(crate) fn requests(jenkins: &FakeJenkins, beginning: &str) -> usize {
    let world = jenkins.world();
    world
        .log
        .iter()
        .filter(|line| line.starts_with(beginning))
        .count()
}
