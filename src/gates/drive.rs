//! One job of a gate, driven through Jenkins.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    sync::{mpsc::UnboundedSender, watch},
    time::Instant,
};

use super::{Jenkins, JobKey};
use crate::{
    api::GateState,
    jenkins::{After, BuildResult, Halt, Order, Run, Said, State, pause},
    jitter::Jitter,
    leader::Leadership,
    rollout::{CanaryId, GateNews},
};

/// How long to try to stop what nobody waits for any more.
const HALT_LIMIT: Duration = Duration::from_secs(30);

const NO_SUCH_JOB: &str = "Jenkins knows no such job, or does not let us read it; it is asked again";

/// Everything that driving one job needs.
pub(super) struct Driver {
    pub(super) key: JobKey,
    /// Who is asked on behalf of what, or why nobody can be.
    pub(super) asked: Result<(Arc<dyn Jenkins>, Order), String>,
    pub(super) written: watch::Receiver<Option<Value>>,
    pub(super) news: Arc<Mutex<Option<GateNews>>>,
    pub(super) jitter: Arc<Jitter>,
    pub(super) leadership: Leadership,
    pub(super) woken: UnboundedSender<CanaryId>,
}

/// Asks until there is a result, each question after the status has the answer to the one before.
pub(super) async fn drive(mut driver: Driver) {
    let (instance, order) = match driver.asked.clone() {
        Ok(asked) => asked,
        Err(problem) => {
            // What is known of the order stays known: there may be a build of it.
            let run = read(driver.written.borrow().as_ref());
            return driver.tell(&run, Some(problem), true);
        }
    };
    let began = Instant::now();
    let mut run = read(driver.written.borrow().as_ref());
    let mut trouble: Option<String> = None;
    let mut caught_up = false;
    while !run.is_over() {
        if trouble.is_some() || run.is_waiting() {
            let waited = if run.is_missing() {
                Duration::MAX
            } else {
                began.elapsed()
            };
            rest(pause(waited, &driver.jitter)).await;
        }
        if !driver.leadership.leads() {
            // It may be renewed yet; whoever lost it for good ends as a process.
            rest(pause(began.elapsed(), &driver.jitter)).await;
            continue;
        }
        let answer = instance.ask(&order, &run.next()).await;
        let problem = match &answer.said {
            Said::Trouble(error) => Some(format!("Jenkins {error}")),
            _ => None,
        };
        let next = run.clone().saw(answer);
        if next == run && problem == trouble && caught_up {
            continue;
        }
        // As long as every answer leads to another place, what is written is behind.
        caught_up |= next == run || problem.is_some();
        trouble.clone_from(&problem);
        driver.tell(&next, problem, caught_up);
        if next != run && driver.recorded(&next).await.is_none() {
            return;
        }
        run = next;
    }
    if driver
        .news
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .is_none()
    {
        // It was over when it was found.
        driver.tell(&run, None, true);
    }
}

/// Cancels or stops what is in Jenkins of an order, and looks whether it is, as far as that can be done soon.
pub(super) async fn halt(
    instance: Arc<dyn Jenkins>,
    order: Order,
    written: Option<Value>,
    jitter: Arc<Jitter>,
) {
    let began = Instant::now();
    let mut run = read(written.as_ref()).withdrawn();
    let halting = async {
        let mut trouble = false;
        while !run.is_over() && run.halt() != Halt::Denied {
            if trouble || run.is_waiting() {
                rest(pause(began.elapsed(), &jitter)).await;
            }
            let answer = instance.ask(&order, &run.next()).await;
            trouble = matches!(answer.said, Said::Trouble(_));
            if !trouble {
                run = run.clone().saw(answer);
            }
        }
    };
    // What was asked to stop may take its time; what could not be asked goes on.
    let in_time = tokio::time::timeout(HALT_LIMIT, halting).await.is_ok();
    if run.halt() == Halt::Denied || (!in_time && run.halt() == Halt::Due) {
        tracing::warn!(job = %order.job, "a build that nobody waits for could not be stopped");
    }
}

fn read(written: Option<&Value>) -> Run {
    let read = written.and_then(|run| serde_json::from_value(run.clone()).ok());
    read.unwrap_or_default()
}

impl Driver {
    /// What the status is to say of it.
    fn tell(&self, run: &Run, problem: Option<String>, caught_up: bool) {
        let Ok(json) = serde_json::to_value(run) else {
            return;
        };
        let (state, message, url) = verdict(run.state());
        let news = GateNews {
            gate: self.key.gate.clone(),
            revision: self.key.revision.clone(),
            since: self.key.since,
            run: json,
            state,
            message: problem.or(message),
            url,
            caught_up,
        };
        *self.news.lock().unwrap_or_else(PoisonError::into_inner) = Some(news);
        // Nobody listens any more only when the process ends.
        let _: Result<(), _> = self.woken.send(self.key.canary.clone());
    }

    /// Waits until the status says what is to be gone on from.
    async fn recorded(&mut self, run: &Run) -> Option<()> {
        let json = serde_json::to_value(run).ok()?;
        self.written
            .wait_for(|written| written.as_ref() == Some(&json))
            .await
            .ok()
            .map(drop)
    }
}

/// What a state of the order means for the gate.
fn verdict(state: &State) -> (GateState, Option<String>, Option<String>) {
    match state {
        State::Wanted { missed: 1.. } => (GateState::Running, Some(NO_SUCH_JOB.to_owned()), None),
        State::Looking(look) if look.then == After::AskJob => {
            (GateState::Running, Some(NO_SUCH_JOB.to_owned()), None)
        }
        State::Wanted { .. } | State::Looking(_) | State::Clear { .. } => (GateState::Running, None, None),
        State::Queued { .. } => (
            GateState::Running,
            Some("in the queue of Jenkins".to_owned()),
            None,
        ),
        State::Building { number, url, .. } => (
            GateState::Running,
            Some(format!("build {number} runs")),
            Some(url.clone()),
        ),
        State::Ended { number, url, result } => {
            let good = *result == BuildResult::Success;
            let state = if good {
                GateState::Open
            } else {
                GateState::Rejected
            };
            let result = format!("{result:?}").to_lowercase();
            (
                state,
                Some(format!("build {number}: {result}")),
                Some(url.clone()),
            )
        }
        State::Cancelled => rejected("the build was cancelled in the queue of Jenkins"),
        State::Lost => rejected("the build is gone from Jenkins"),
        State::Refused { why } => rejected(&format!("Jenkins: {why}")),
    }
}

fn rejected(why: &str) -> (GateState, Option<String>, Option<String>) {
    (GateState::Rejected, Some(why.to_owned()), None)
}

#[expect(
    clippy::disallowed_methods,
    reason = "Jenkins tells nobody when a build ends: it has to be asked again"
)]
async fn rest(span: Duration) {
    tokio::time::sleep(span).await;
}
