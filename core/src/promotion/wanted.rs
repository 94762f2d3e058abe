//! What a Promotion wants of the workload.

use std::collections::BTreeMap;

use super::Target;
use crate::api::PromotionSpec;

/// What the workload shall have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Images(BTreeMap<String, String>),
    Revision(String),
}

impl Wanted {
    /// Whether the workload has it.
    pub(super) fn met_by(&self, target: &Target) -> bool {
        match self {
            Wanted::Images(images) => images
                .iter()
                .all(|(container, image)| target.images.get(container) == Some(image)),
            Wanted::Revision(revision) => target.revision.starts_with(revision.as_str()),
        }
    }

    /// Whether it says what every container of the workload is to run.
    pub(super) fn names_all(&self, target: &Target) -> bool {
        match self {
            Wanted::Images(images) => target
                .images
                .keys()
                .all(|container| images.contains_key(container)),
            Wanted::Revision(_) => false,
        }
    }
}

/// What `spec` wants of `target`, or why it cannot have it.
pub(super) fn wanted(spec: &PromotionSpec, target: &Target) -> Result<Wanted, String> {
    let awaited = spec.r#await.clone().unwrap_or_default();
    if let Some(revision) = awaited.revision {
        return Ok(Wanted::Revision(revision));
    }
    let images = spec.images.clone().or(awaited.images);
    if let Some(images) = images {
        let missing = images
            .keys()
            .find(|container| !target.images.contains_key(*container));
        return match missing {
            Some(container) => Err(format!(
                "the workload has no container {container}; it has {}",
                listed(target)
            )),
            None => Ok(Wanted::Images(images)),
        };
    }
    let image = spec.image.clone().or(awaited.image).unwrap_or_default();
    let mut containers = target.images.keys();
    match (containers.next(), containers.next()) {
        (Some(only), None) => Ok(Wanted::Images(BTreeMap::from([(only.clone(), image)]))),
        _ => Err(format!(
            "the workload has several containers ({}); name them in images",
            listed(target)
        )),
    }
}

fn listed(target: &Target) -> String {
    target.images.keys().cloned().collect::<Vec<_>>().join(", ")
}
