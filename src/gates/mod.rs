//! Jobs at gates: ordered and followed apart from the reconcile path.
//!
//! A gate whose status says `Running` has a task here. It asks Jenkins one question at a time; what follows from the
//! answer goes into the status ([`Gates::news`]), and only when the status has it is the next question asked. So whoever
//! finds the status, after whatever died, goes on from there, and of one order there is one build. Invariant: no round
//! waits for anything here.

mod drive; // one job of a gate, driven through Jenkins
pub mod instances; // the Jenkins that are known

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::{
    sync::{mpsc::UnboundedSender, watch},
    task::AbortHandle,
};

use crate::{
    api::{CanaryStatus, GatePoint, GateState, GateStatus, JenkinsGate, Phase},
    config_file::Reloaded,
    jenkins::{Answer, Ask, Order},
    jitter::Jitter,
    leader::Leadership,
    rollout::{CanaryId, GateNews, Names, Opens, RolloutSpec, analysis_is_skipped},
};
pub use instances::{Instances, Tenant};

/// Who answers about jobs.
#[async_trait]
pub trait Jenkins: Send + Sync {
    /// Asks one question on behalf of `order`.
    async fn ask(&self, order: &Order, ask: &Ask) -> Answer;
}

#[async_trait]
impl Jenkins for crate::jenkins::Client {
    async fn ask(&self, order: &Order, ask: &Ask) -> Answer {
        crate::jenkins::Client::ask(self, order, ask).await
    }
}

/// Which gate of which release; another `since` is another order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct JobKey {
    canary: CanaryId,
    uid: String,
    gate: String,
    revision: String,
    since: DateTime<Utc>,
}

/// A gate whose job is ordered and followed.
struct Slot {
    key: JobKey,
    /// Who was asked, on behalf of what: the specification may have been edited since.
    asked: Option<(Arc<dyn Jenkins>, Order)>,
    /// What the status says of the order's run.
    written: watch::Sender<Option<Value>>,
    /// What was heard since.
    news: Arc<Mutex<Option<GateNews>>>,
    task: AbortHandle,
}

impl Slot {
    /// What the status says now.
    fn learn(&self, run: Option<&Value>) {
        self.written.send_if_modified(|known| {
            let changed = known.as_ref() != run;
            *known = run.cloned();
            changed
        });
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The gates whose jobs are followed.
pub struct Gates {
    instances: Arc<Reloaded<Instances>>,
    jitter: Arc<Jitter>,
    leadership: Leadership,
    woken: UnboundedSender<CanaryId>,
    slots: Mutex<HashMap<CanaryId, Vec<Slot>>>,
}

impl Gates {
    /// No gates yet. A Canary of which there is news is sent to `woken`.
    #[must_use]
    pub fn new(
        instances: Reloaded<Instances>,
        jitter: Arc<Jitter>,
        leadership: Leadership,
        woken: UnboundedSender<CanaryId>,
    ) -> Gates {
        Gates {
            instances: Arc::new(instances),
            jitter,
            leadership,
            woken,
            slots: Mutex::default(),
        }
    }

    /// Follows the jobs that `status`, which must be a written one, says are running, and begins no others. What the
    /// specification does not ask for any more is stopped only when the status has let go of it: it may be asked for again
    /// before that, and is then the same order.
    pub fn follow(&self, spec: &RolloutSpec, status: &CanaryStatus) {
        if spec.suspended() {
            // Hands off: what runs in Jenkins goes on, and is found again afterwards.
            return self.forget(&spec.id);
        }
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut old = slots.remove(&spec.id).unwrap_or_default();
        let mut kept = Vec::new();
        for (key, known) in running(spec, status) {
            match old.iter().position(|slot| slot.key == key) {
                Some(at) => {
                    let slot = old.swap_remove(at);
                    slot.learn(known.run.as_ref());
                    kept.push(slot);
                }
                None => kept.extend(
                    asked_for(spec, status, known).map(|job| self.begin(spec, key, job, known.run.clone())),
                ),
            }
        }
        if !kept.is_empty() {
            slots.insert(spec.id.clone(), kept);
        }
        old.iter().for_each(|slot| self.give_up(slot));
    }

    fn begin(&self, spec: &RolloutSpec, key: JobKey, job: &JenkinsGate, run: Option<Value>) -> Slot {
        let (written, following) = watch::channel(run);
        let news = Arc::new(Mutex::new(None));
        let instance: Arc<dyn Jenkins> = Arc::new(instances::Named {
            instances: self.instances.clone(),
            name: job.instance.clone(),
            namespace: spec.id.namespace.clone(),
        });
        let asked = order(&key, job, &spec.names)
            .map(|order| (instance, order))
            .map_err(|error| error.to_string());
        let driver = drive::Driver {
            key: key.clone(),
            asked: asked.clone(),
            written: following,
            news: news.clone(),
            jitter: self.jitter.clone(),
            leadership: self.leadership.clone(),
            woken: self.woken.clone(),
        };
        let task = tokio::spawn(drive::drive(driver)).abort_handle();
        Slot {
            key,
            asked: asked.ok(),
            written,
            news,
            task,
        }
    }

    /// The release does not wait for this job any more: what is in Jenkins is stopped, if that can be done now.
    fn give_up(&self, slot: &Slot) {
        let heard = slot.news.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let over = heard.is_some_and(|news| news.state != GateState::Running);
        if let Some((instance, order)) = slot.asked.clone().filter(|_| !over) {
            let run = slot.written.borrow().clone();
            tokio::spawn(drive::halt(instance, order, run, self.jitter.clone()));
        }
    }

    /// What was heard of the jobs of this Canary since its status was written.
    #[must_use]
    pub fn news(&self, id: &CanaryId, uid: &str) -> Vec<GateNews> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let of_canary = slots.get(id).into_iter().flatten();
        of_canary
            .filter(|slot| slot.key.uid == uid)
            .filter_map(|slot| slot.news.lock().unwrap_or_else(PoisonError::into_inner).clone())
            .collect()
    }

    /// Forgets a Canary that is gone.
    pub fn forget(&self, id: &CanaryId) {
        self.slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }
}

/// The gates whose jobs are running according to the status.
fn running<'a>(spec: &RolloutSpec, status: &'a CanaryStatus) -> Vec<(JobKey, &'a GateStatus)> {
    let under_way = matches!(
        status.phase,
        Some(Phase::Waiting | Phase::Progressing | Phase::WaitingPromotion)
    );
    if !under_way || status.retirement.is_some() || spec.deleting {
        return Vec::new();
    }
    let Some(current) = &status.revision.current else {
        return Vec::new();
    };
    let key = |known: &GateStatus| JobKey {
        canary: spec.id.clone(),
        uid: spec.uid.clone(),
        gate: known.name.clone(),
        revision: known.revision.as_ref().unwrap_or(current).clone(),
        since: known.since,
    };
    let gates = status.gates.iter();
    gates
        .filter(|known| known.state == GateState::Running)
        .map(|known| (key(known), known))
        .collect()
}

/// The job at this gate, if the specification asks for it still. What is written is of the job that was ordered, and the
/// specification may name another one by now.
fn asked_for<'a>(
    spec: &'a RolloutSpec,
    status: &CanaryStatus,
    known: &GateStatus,
) -> Option<&'a JenkinsGate> {
    let gate = spec.gates.iter().find(|gate| gate.name == known.name)?;
    let Opens::Jenkins(job) = &gate.opens else {
        return None;
    };
    let skipped = gate.at == GatePoint::PreRollout && analysis_is_skipped(spec, status);
    (known.job == gate.opens.job() && !skipped).then_some(job)
}

/// Name of the parameter by which a build is found again; the job must declare it.
pub const MARK: &str = "BELLWETHER_GATE";

/// The order of a gate: the same for the same key, whoever makes it.
fn order(key: &JobKey, job: &JenkinsGate, names: &Names) -> Result<Order, crate::jenkins::Error> {
    let known = [
        ("$(namespace)", key.canary.namespace.as_str()),
        ("$(canary)", key.canary.name.as_str()),
        ("$(revision)", key.revision.as_str()),
        ("$(primaryService)", names.primary_service.as_str()),
        ("$(canaryService)", names.canary_service.as_str()),
    ];
    let filled = |value: &String| {
        known
            .iter()
            .fold(value.clone(), |text, (from, to)| text.replace(from, to))
    };
    let short = key.revision.get(..12).unwrap_or(&key.revision);
    Ok(Order {
        job: crate::jenkins::JobPath::parse(&job.job)?,
        parameters: job
            .parameters
            .iter()
            .map(|(name, value)| (name.clone(), filled(value)))
            .collect(),
        mark: crate::jenkins::Mark {
            name: MARK.to_owned(),
            value: format!(
                "{}/{short}/{}/{}",
                key.uid,
                key.gate,
                key.since.timestamp_millis()
            ),
        },
    })
}

#[cfg(test)]
mod tests;
