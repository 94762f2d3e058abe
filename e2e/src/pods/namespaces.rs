//! What annotations of a namespace say of the pods in it: which of them requests do not reach, and how often they are scraped.
//!
//! The first take the place of policies, for no pod here has a proxy or a node that would obey one.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bellwether::sim::traffic::Barrier;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;

/// Before the name of a workload: `drops` or `denies`, how requests are kept from its pods.
pub const BARS: &str = "bars.sim.bellwether.dev/";

/// `true` where pods are scraped every 30 seconds only.
pub const RARELY_SCRAPED: &str = "sim.bellwether.dev/rarely-scraped";

/// The annotations of all namespaces.
#[derive(Clone, Default)]
pub struct Namespaces(Arc<Mutex<HashMap<String, BTreeMap<String, String>>>>);

impl Namespaces {
    /// Takes a namespace as it is now.
    pub fn set(&self, namespace: &Namespace) {
        let annotations = namespace.annotations().clone();
        self.lock().insert(namespace.name_any(), annotations);
    }

    /// How requests are kept from the pods of a workload, if they are.
    pub fn barrier(&self, namespace: &str, workload: &str) -> Option<Barrier> {
        let all = self.lock();
        let how = all.get(namespace)?.get(&format!("{BARS}{workload}"))?;
        match how.as_str() {
            "drops" => Some(Barrier::Drops),
            "denies" => Some(Barrier::Denies),
            _ => None,
        }
    }

    /// Whether its pods are scraped every 30 seconds only.
    pub fn rarely_scraped(&self, namespace: &str) -> bool {
        let all = self.lock();
        let said = all
            .get(namespace)
            .and_then(|annotations| annotations.get(RARELY_SCRAPED));
        said.is_some_and(|said| said == "true")
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, BTreeMap<String, String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
