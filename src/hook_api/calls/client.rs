//! Notes on promotions that their clients are there, for policies by which a release ends without them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::over;
use crate::{
    api::Promotion,
    hook_api::Hook,
    promotion::client_lost_after,
    reconcile::{kinds::Kind, promotions::CLIENT_SEEN},
};

/// Time between two tries to note a client of one promotion, of whom there may be many.
const PAUSE: Duration = Duration::from_secs(5);

impl Hook {
    /// Notes that a client is there, if the promotion's policy asks for it; a few times within the span in which it may be
    /// silent. A note that fails is made by a later request.
    pub(super) fn note_client(&self, promotion: &Promotion) {
        let Some(span) = client_lost_after(&promotion.spec.policy).filter(|_| !over(promotion)) else {
            return;
        };
        let now = self.ctx.clock.now();
        let metadata = &promotion.metadata;
        let noted = metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(CLIENT_SEEN)?.parse::<DateTime<Utc>>().ok());
        let (Some(name), Some(namespace)) = (metadata.name.clone(), metadata.namespace.clone()) else {
            return;
        };
        let uid = metadata.uid.clone().unwrap_or_default();
        if noted.is_some_and(|noted| now - noted < span / 4)
            || !self.noted.take(uid, self.ctx.clock.monotonic(), PAUSE)
        {
            return;
        }
        let api = Kind::Promotion.api(&self.ctx.client, &namespace);
        // Guarded: of several replicas one notes it, and never on another promotion of the same name.
        let seen = json!({"metadata": {
            "resourceVersion": metadata.resource_version,
            "annotations": {CLIENT_SEEN: now.to_rfc3339()},
        }});
        let ctx = self.ctx.clone();
        tokio::spawn(async move {
            let patched = api
                .patch(&name, &PatchParams::default(), &Patch::Merge(seen))
                .await;
            match patched.map(|made| serde_json::to_value(&made)) {
                Ok(Ok(made)) => ctx.cache.put_known(Kind::Promotion, made),
                Ok(Err(_)) => {}
                // It changed, perhaps because another replica noted its client, or it went.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                Err(error) => {
                    tracing::warn!(promotion = name, %error, "that a client is there could not be noted");
                }
            }
        });
    }
}
