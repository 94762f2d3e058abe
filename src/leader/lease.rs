//! The Lease at the API server. Every write is guarded by the resourceVersion it was decided on.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use kube::{
    api::{Api, ApiResource, DynamicObject, PostParams},
    core::GroupVersionKind,
};
use serde_json::json;

use super::{
    Candidate,
    election::{Record, Step},
};

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Refused, or not answered.
    #[error("{0}")]
    Api(#[from] Box<kube::Error>),
    /// Not answered in time.
    #[error("no answer in time")]
    Timeout,
    /// Not a Lease.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
}

/// The Lease of a candidate.
pub(super) struct LeaseApi {
    api: Api<DynamicObject>,
    name: String,
}

impl LeaseApi {
    pub(super) fn new(client: kube::Client, candidate: &Candidate) -> LeaseApi {
        let gvk = GroupVersionKind::gvk("coordination.k8s.io", "v1", "Lease");
        LeaseApi {
            api: Api::namespaced_with(client, &candidate.namespace, &ApiResource::from_gvk(&gvk)),
            name: candidate.name.clone(),
        }
    }

    /// Carries out `step`; returns the Lease as it is then.
    pub(super) async fn attempt(&self, step: &Step, now: DateTime<Utc>) -> Result<Option<Record>, Error> {
        let params = PostParams::default();
        let written = match step {
            Step::Look => self.api.get_opt(&self.name).await,
            Step::Create(record) => {
                let lease = self.object(record, now, &record.holder)?;
                self.api.create(&params, &lease).await.map(Some)
            }
            Step::Write(record) => {
                let lease = self.object(record, now, &record.holder)?;
                self.api.replace(&self.name, &params, &lease).await.map(Some)
            }
            Step::Release(record) => {
                let lease = self.object(record, now, "")?;
                self.api.replace(&self.name, &params, &lease).await.map(Some)
            }
        };
        let lease = written.map_err(|error| Error::Api(Box::new(error)))?;
        Ok(lease.map(|lease| read(&lease)))
    }

    fn object(&self, record: &Record, now: DateTime<Utc>, holder: &str) -> Result<DynamicObject, Error> {
        let now = now.to_rfc3339_opts(SecondsFormat::Micros, true);
        let mut metadata = json!({"name": self.name});
        if !record.version.is_empty() {
            metadata["resourceVersion"] = json!(record.version);
        }
        Ok(serde_json::from_value(json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": record.duration.as_secs().max(1),
                "leaseTransitions": record.transitions,
                "renewTime": now,
            },
        }))?)
    }
}

fn read(lease: &DynamicObject) -> Record {
    let spec = &lease.data["spec"];
    let number = |field: &str| spec[field].as_i64();
    Record {
        holder: spec["holderIdentity"].as_str().unwrap_or_default().to_owned(),
        transitions: number("leaseTransitions").unwrap_or_default(),
        duration: Duration::from_secs(
            number("leaseDurationSeconds")
                .and_then(|s| u64::try_from(s).ok())
                .unwrap_or(15),
        ),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
    }
}
