//! Leader election by a Lease: of several replicas one decides, the others keep their caches warm.
//!
//! [`election`] holds every rule and is pure; [`hold`] talks to the API server; [`Leadership`] is what a round asks
//! before each write. Invariant: a claim ends, by this process's own clock, before anybody else may take the Lease
//! over; what is still on its way then is refused by the fence (`crate::rollout::decide`).

pub mod election;
mod lease;

use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    defect::{Defect, planted},
    jitter::Jitter,
};
use election::{Election, Step, Timing};

/// How long one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// How long a process that is asked to stop tries to give the Lease back: longer than one request may take.
const RELEASE_LIMIT: Duration = Duration::from_secs(10);
/// Pause between two attempts to give it back.
const RELEASE_RETRY: Duration = Duration::from_millis(200);

/// Which leadership it is: number and holder, different for every time that somebody begins to lead.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(String);

impl Epoch {
    /// The `number`-th leadership of a Lease, of this holder.
    #[must_use]
    pub fn new(number: i64, holder: &str) -> Epoch {
        Epoch(format!("{number}/{holder}"))
    }

    /// As it is written on objects.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The right to decide, until an instant of the monotonic clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which leadership.
    pub epoch: Epoch,
    /// Until when, since the clock's own beginning.
    pub until: Duration,
}

/// Whether this process decides.
#[derive(Clone)]
pub struct Leadership {
    /// Name of this process.
    identity: String,
    /// Without election nobody else may decide.
    claim: Option<watch::Receiver<Option<Claim>>>,
    clock: Arc<dyn Clock>,
}

impl Leadership {
    /// Without election: the only replica always decides.
    #[must_use]
    pub fn alone(identity: &str, clock: Arc<dyn Clock>) -> Leadership {
        Leadership {
            identity: identity.to_owned(),
            claim: None,
            clock,
        }
    }

    /// With election; the sender is for [`hold`].
    #[must_use]
    pub fn elected(identity: &str, clock: Arc<dyn Clock>) -> (Leadership, watch::Sender<Option<Claim>>) {
        let (sender, claim) = watch::channel(None);
        let leadership = Leadership {
            identity: identity.to_owned(),
            claim: Some(claim),
            clock,
        };
        (leadership, sender)
    }

    /// Which leadership this is. Without election, and while somebody else leads, its number is 0.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        let claim = self.claim.as_ref().and_then(|claim| claim.borrow().clone());
        claim.map_or_else(|| Epoch::new(0, &self.identity), |claim| claim.epoch)
    }

    /// Whether this process may write now.
    #[must_use]
    pub fn leads(&self) -> bool {
        let Some(claim) = &self.claim else { return true };
        if planted(Defect::DecidesWithoutClaim) {
            return true;
        }
        let now = self.clock.monotonic();
        claim.borrow().as_ref().is_some_and(|claim| now < claim.until)
    }

    /// Waits until this process leads.
    pub async fn acquired(&self) {
        if planted(Defect::DecidesWithoutClaim) {
            return;
        }
        if let Some(claim) = &self.claim {
            // The sender goes with the process.
            let _ = claim.clone().wait_for(Option::is_some).await;
        }
    }
}

/// Where the Lease is, and who wants it.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Different for every process.
    pub identity: String,
    /// Timing.
    pub timing: Timing,
    /// Told once when every kind is listed: nobody should lead who cannot see yet.
    pub listed: Arc<Notify>,
}

/// Gets the Lease as soon as everything is listed, and keeps it. Returns when it was lost, or after `stop` when it was given back.
pub async fn hold(
    client: kube::Client,
    candidate: Candidate,
    clock: Arc<dyn Clock>,
    jitter: Arc<Jitter>,
    claim: watch::Sender<Option<Claim>>,
    stop: CancellationToken,
) {
    if stop
        .run_until_cancelled(candidate.listed.notified())
        .await
        .is_none()
    {
        return;
    }
    let lease = lease::LeaseApi::new(client, &candidate);
    let mut election = Election::new(&candidate.identity, candidate.timing);
    loop {
        let step = election.step(clock.monotonic());
        // Not even a stop cuts it short: of a write that was cut off nobody knows which version it left behind, and
        // without that the Lease cannot be given back.
        if let Err(error) = attempt(&lease, &mut election, &step, &*clock).await {
            tracing::warn!(%error, ?step, "the Lease could not be read or written; tried again");
        }
        let won = election.claim(clock.monotonic());
        let led = claim.borrow().is_some();
        if led && won.is_none() {
            tracing::error!("the Lease was lost; this process ends");
            claim.send_replace(None);
            return;
        }
        if !led && let Some(claim) = &won {
            tracing::info!(epoch = %claim.epoch, "this process leads");
        }
        claim.send_replace(won);
        let pause = jitter.spread(election.pause());
        if stop.run_until_cancelled(rest(pause)).await.is_none() {
            break;
        }
    }
    // No write of ours may follow the release.
    claim.send_replace(None);
    if election.release().is_none() {
        return;
    }
    let giving_back = give_back(&lease, &mut election, &*clock, &jitter);
    match tokio::time::timeout(RELEASE_LIMIT, giving_back).await {
        Ok(()) => tracing::info!("the Lease is not ours any more"),
        Err(_) => tracing::warn!("the Lease could not be given back; it expires by itself"),
    }
}

/// Gives the Lease back, if it is ours.
async fn give_back(lease: &lease::LeaseApi, election: &mut Election, clock: &dyn Clock, jitter: &Jitter) {
    while let Some(step) = election.release() {
        if let Err(error) = attempt(lease, election, &step, clock).await {
            tracing::warn!(%error, ?step, "the Lease could not be given back; tried again");
            rest(jitter.spread(RELEASE_RETRY)).await;
        }
    }
}

/// Carries out one step, and takes in what became of it.
async fn attempt(
    lease: &lease::LeaseApi,
    election: &mut Election,
    step: &Step,
    clock: &dyn Clock,
) -> Result<(), lease::Error> {
    let asked = clock.monotonic();
    let outcome = match tokio::time::timeout(REQUEST_LIMIT, lease.attempt(step, clock.now())).await {
        Ok(outcome) => outcome,
        Err(_) => Err(lease::Error::Timeout),
    };
    match outcome {
        Ok(record) => {
            election.saw(step, record, asked, clock.monotonic());
            Ok(())
        }
        Err(error) => {
            election.failed();
            Err(error)
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a Lease is renewed by time; there is no condition to wait for"
)]
async fn rest(pause: Duration) {
    tokio::time::sleep(pause).await;
}
