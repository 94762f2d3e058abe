//! Callers in the simulated cluster: requests are worked off when somebody looks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bellwether::sim::cluster::SimCluster;
use bellwether::sim::traffic::{Failure, Request};
use tokio::time::{Instant, sleep};

use super::{Fate, Recorder, Sample};

/// Callers of one Service, until they are stopped or dropped.
pub(super) struct Callers {
    cluster: Arc<Mutex<SimCluster>>,
    namespace: String,
    service: String,
    per_second: u32,
}

impl Callers {
    pub(super) fn call(
        cluster: Arc<Mutex<SimCluster>>,
        namespace: &str,
        service: &str,
        per_second: u32,
    ) -> Self {
        let callers = Self {
            cluster,
            namespace: namespace.to_owned(),
            service: service.to_owned(),
            per_second,
        };
        callers.set_rate(f64::from(per_second));
        callers
    }

    /// Returns when so many more requests have met their fate.
    pub(super) async fn requests(&self, recorder: &Recorder, more: usize) {
        self.deliver(recorder);
        let target = *recorder.done.borrow() + more;
        loop {
            self.deliver(recorder);
            let missing = target.saturating_sub(*recorder.done.borrow());
            if missing == 0 {
                return;
            }
            // Requests come by chance; about so long until the last of these.
            let span = missing as f64 / f64::from(self.per_second.max(1));
            sleep(Duration::from_secs_f64(span).max(Duration::from_millis(1))).await;
        }
    }

    /// Hands over what happened since the last time.
    pub(super) fn deliver(&self, recorder: &Recorder) {
        let cluster = self.lock();
        let (now, instant) = (cluster.now(), Instant::now());
        let requests = cluster.world().traffic.take(&self.namespace, &self.service);
        for request in requests {
            recorder.add(Sample {
                sent: instant - (now - request.at).to_std().unwrap_or_default(),
                took: Duration::from_secs_f64(request.took / 1e3),
                fate: fate(request),
            });
        }
    }

    /// Ends the calls; what was sent is handed over.
    pub(super) fn stop(self, recorder: &Recorder) {
        self.deliver(recorder);
    }

    fn set_rate(&self, rate: f64) {
        let cluster = self.lock();
        let now = cluster.now();
        let traffic = &mut cluster.world().traffic;
        traffic.call(&self.namespace, &self.service, rate, now);
        traffic.record(&self.namespace, &self.service, rate > 0.0);
    }

    fn lock(&self) -> MutexGuard<'_, SimCluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        self.set_rate(0.0);
    }
}

/// As the gateway would tell it: what no pod answers, it answers itself with 503.
fn fate(request: Request) -> Fate {
    let code = match request.failure {
        None => 200,
        Some(Failure::Answered) => 500,
        Some(Failure::Denied) => 403,
        Some(Failure::NoEndpoint | Failure::Refused | Failure::Misrouted) => 503,
    };
    Fate::Answered {
        code,
        grpc: None,
        workload: request.workload,
    }
}
