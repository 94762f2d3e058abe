//! Leader election by a Lease: of several replicas one decides, the others keep their caches warm.
//!
//! [`election`] holds every rule and is pure; [`hold`] talks to the API server; [`Leadership`] is what a round asks
//! before each write. Invariant: a claim ends, by this process's own clock, before anybody else may take the Lease
//! over; what is still on its way then is refused by the fence (`crate::rollout::decide`).

pub mod election;
mod lease;

use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    defect::{Defect, planted},
    jitter::Jitter,
};
use election::{Election, Step, Timing};

/// How long one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);

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
}

/// Gets the Lease and keeps it. Returns when it was lost, or after `stop` when it was given back.
pub async fn hold(
    client: kube::Client,
    candidate: Candidate,
    clock: Arc<dyn Clock>,
    jitter: Arc<Jitter>,
    claim: watch::Sender<Option<Claim>>,
    stop: CancellationToken,
) {
    let lease = lease::LeaseApi::new(client, &candidate);
    let mut election = Election::new(&candidate.identity, candidate.timing);
    loop {
        let asked = clock.monotonic();
        let step = election.step(asked);
        let attempt = tokio::time::timeout(REQUEST_LIMIT, lease.attempt(&step, clock.now()));
        let outcome = match stop.run_until_cancelled(attempt).await {
            None => break,
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) => Err(lease::Error::Timeout),
        };
        match outcome {
            Ok(record) => election.saw(&step, record, asked, clock.monotonic()),
            Err(error) => {
                tracing::warn!(%error, ?step, "the Lease could not be read or written; tried again");
                election.failed();
            }
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
    if let Some(record) = election.held() {
        let step = Step::Release(record.clone());
        match tokio::time::timeout(REQUEST_LIMIT, lease.attempt(&step, clock.now())).await {
            Ok(Ok(_)) => tracing::info!("the Lease is given back"),
            _ => tracing::warn!("the Lease could not be given back; it expires by itself"),
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
