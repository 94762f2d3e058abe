//! Writing the Canary itself: its finalizer and its status.

use crate::pointer::At;
use serde_json::{Value, json};

use super::{Round, guard, record_status};
use crate::{
    api::CanaryStatus,
    reconcile::{error::Error, kinds::Kind, observe::FINALIZER},
};

impl Round<'_> {
    pub(super) async fn add_finalizer(&mut self, act: &'static str) -> Result<(), Error> {
        let mut ops = vec![guard(&self.canary)];
        if self.canary.at("/metadata/finalizers").is_none() {
            ops.push(json!({"op": "add", "path": "/metadata/finalizers", "value": []}));
        }
        ops.push(json!({"op": "add", "path": "/metadata/finalizers/-", "value": FINALIZER}));
        self.canary = self
            .patch(act, Kind::Canary, &self.spec.id.name, Value::Array(ops))
            .await?;
        Ok(())
    }

    pub(super) async fn remove_finalizer(&mut self, act: &'static str) -> Result<(), Error> {
        let list = self.canary.at("/metadata/finalizers").and_then(Value::as_array);
        let Some(index) = list.and_then(|l| l.iter().position(|f| f == FINALIZER)) else {
            return Ok(());
        };
        let mut ops = vec![guard(&self.canary)];
        ops.push(json!({"op": "test", "path": format!("/metadata/finalizers/{index}"), "value": FINALIZER}));
        ops.push(json!({"op": "remove", "path": format!("/metadata/finalizers/{index}")}));
        match self
            .patch(act, Kind::Canary, &self.spec.id.name, Value::Array(ops))
            .await
        {
            Ok(written) => self.canary = written,
            // It went with an earlier removal whose answer was lost.
            Err(Error::Write { source, .. }) if matches!(&*source, kube::Error::Api(status) if status.code == 404) =>
                {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Replaces the status on the resourceVersion that was decided on.
    pub(super) async fn record(&mut self, act: &'static str, status: &CanaryStatus) -> Result<(), Error> {
        self.canary = record_status(self.ctx, &self.canary, &self.spec.names.namespace, status)
            .await
            .map_err(|error| match error {
                Error::Write { source, .. } => self.refused(act, Kind::Canary, &self.spec.id.name, *source),
                other => other,
            })?;
        self.accepted(act, Kind::Canary, &self.spec.id.name);
        self.ctx
            .outbox
            .tell(&self.spec.id, &self.spec.uid, &status.outbox.pending);
        Ok(())
    }
}
