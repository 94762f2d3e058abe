//! Promotions, Commands and Approvals of one Canary: what the cache knows of them, and what is written for them.
//!
//! Invariant: the workload gets other images only for a Promotion whose intent is recorded, and only on the state of it
//! that was decided on.

pub mod ledger; // what became of those that are forgotten
mod read; // objects as a decision sees them

use std::{collections::BTreeMap, sync::Arc};

use crate::pointer::At;
use chrono::{DateTime, Utc};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};

use super::{
    Context, Next,
    act::{guard, replace_status},
    error::{Error, object_name},
    index::Part,
    kinds::Kind,
    snapshot::{Snapshot, prime},
};
use crate::{
    api::UnderWay,
    promotion::{self, Act, Decision, Form, Seen, SeenCommand, SeenPromotion, Target, Unattended},
    rollout::{self, CanaryId, Child, Observed, RolloutSpec},
    workload::{marks::MANAGER, text},
};

pub use read::CLIENT_SEEN;

/// The objects that name one Canary.
pub struct Asked {
    promotions: Vec<Arc<Value>>,
    commands: Vec<Arc<Value>>,
    approvals: Vec<Arc<Value>>,
}

impl Asked {
    /// What is asked of the Canary `id`, whether or not it exists.
    ///
    /// # Errors
    /// If what is in doubt cannot be read.
    pub async fn of(ctx: &Context, id: &CanaryId) -> Result<Asked, Error> {
        for kind in [Kind::Promotion, Kind::Command, Kind::Approval] {
            prime(ctx, &known_by(id, kind)).await?;
        }
        let known = |kind: Kind| ctx.cache.group(&known_by(id, kind));
        Ok(Asked {
            promotions: known(Kind::Promotion),
            commands: known(Kind::Command),
            approvals: known(Kind::Approval),
        })
    }

    fn promotions(&self) -> Vec<SeenPromotion> {
        self.promotions
            .iter()
            .filter_map(|object| read::promotion(object))
            .collect()
    }

    fn commands(&self) -> Vec<SeenCommand> {
        let commands = self.commands.iter().filter_map(|object| read::command(object));
        let approvals = self.approvals.iter().filter_map(|object| read::approval(object));
        commands.chain(approvals).collect()
    }

    /// The object of this name that was decided on.
    fn decided_on(&self, kind: Kind, name: &str) -> Result<&Arc<Value>, Error> {
        let objects = match kind {
            Kind::Command => &self.commands,
            Kind::Approval => &self.approvals,
            _ => &self.promotions,
        };
        let found = objects
            .iter()
            .find(|object| text(object, "/metadata/name") == name);
        found.ok_or_else(|| Error::Stale {
            act: "writing a promotion",
            what: name.to_owned(),
        })
    }
}

/// What the Promotions and Commands of this Canary ask for, beside what was observed of it.
pub fn decide(spec: &RolloutSpec, snap: &Snapshot, observed: &Observed, now: DateTime<Utc>) -> Decision {
    let hands_off = observed.hands_off(spec).map(str::to_owned);
    let frozen = observed.frozen(UnderWay::Finish).map(str::to_owned);
    let seen = Seen {
        canary: &observed.status,
        deleting: spec.deleting,
        target: observed
            .target
            .as_ref()
            .zip(snap.target.as_ref())
            .map(|(workload, object)| target(&workload.revision, object)),
        promotions: snap.asked.promotions(),
        commands: snap.asked.commands(),
        frozen: hands_off.clone().or(frozen),
        hands_off,
        deaf: observed.routes.unusable().map(str::to_owned),
        fenced: rollout::refuses_late_writes(spec, observed, Child::Target, now),
    };
    if seen.promotions.is_empty() && seen.commands.is_empty() {
        return Decision::default();
    }
    let mut decision = promotion::decide(&seen, now);
    if seen.frozen.is_some() && seen.promotions.iter().any(SeenPromotion::waits) {
        // Whoever waits for the end of a freeze is woken by it.
        decision.wake_at = decision
            .wake_at
            .into_iter()
            .chain(observed.freezing.changes_at)
            .min();
    }
    decision
}

fn kind(form: Form) -> Kind {
    match form {
        Form::Command => Kind::Command,
        Form::Approval => Kind::Approval,
    }
}

fn target(revision: &str, object: &Value) -> Target {
    let containers = object
        .at("/spec/template/spec/containers")
        .and_then(Value::as_array);
    Target {
        revision: revision.to_owned(),
        images: containers
            .into_iter()
            .flatten()
            .map(|container| {
                (
                    text(container, "/name").to_owned(),
                    text(container, "/image").to_owned(),
                )
            })
            .collect(),
    }
}

/// Carries out `acts` in order.
///
/// # Errors
/// The first act that fails; the ones after it are not tried, except that what cannot be forgotten is in no way of the others.
pub async fn perform(ctx: &Context, spec: &RolloutSpec, snap: &Snapshot, acts: &[Act]) -> Result<(), Error> {
    let mut kept = Ok(());
    for act in acts {
        match act {
            Act::Ship(name, images) => {
                fence(ctx, &spec.id, act)?;
                ship(ctx, spec, snap, name, images).await?;
            }
            Act::Forget(..) => kept = kept.and(write(ctx, &spec.id, &snap.asked, act).await),
            _ => write(ctx, &spec.id, &snap.asked, act).await?,
        }
    }
    kept
}

/// Carries out what is decided about the Promotions, Commands and Approvals of a Canary that is not followed; returns
/// whether something was written, and when to look again.
///
/// # Errors
/// If they cannot be read or written.
pub async fn unattended(ctx: &Context, id: &CanaryId, why: Unattended<'_>) -> Result<Next, Error> {
    let asked = Asked::of(ctx, id).await?;
    let decision = promotion::unattended(&asked.promotions(), &asked.commands(), why, ctx.clock.now());
    for act in &decision.acts {
        write(ctx, id, &asked, act).await?;
    }
    Ok(Next {
        again: !decision.acts.is_empty(),
        answered: decision.acts.iter().any(Act::answers),
        wake_at: decision.wake_at,
        urgent: false,
    })
}

/// Lets nobody act who does not decide any more.
fn fence(ctx: &Context, id: &CanaryId, act: &Act) -> Result<(), Error> {
    tracing::debug!(canary = %id, ?act, "act");
    if ctx.leadership.leads() {
        return Ok(());
    }
    Err(Error::NotLeading(id.clone()))
}

/// Writes to one of the objects that name a Canary. The workload is none of them.
async fn write(ctx: &Context, id: &CanaryId, asked: &Asked, act: &Act) -> Result<(), Error> {
    fence(ctx, id, act)?;
    let of = |kind: Kind, name: &str| asked.decided_on(kind, name);
    match act {
        Act::Record(name, status) => {
            let kind = Kind::Promotion;
            record(ctx, id, kind, of(kind, name)?, status).await
        }
        Act::Answer(form, name, status) => {
            let kind = kind(*form);
            record(ctx, id, kind, of(kind, name)?, status).await
        }
        Act::Forget(name, entry) => {
            let live = of(Kind::Promotion, name)?;
            if let Some(entry) = entry {
                let noted = ledger::note(&ctx.client, &id.namespace, name, entry).await;
                noted.map_err(|source| Error::Write {
                    act: "noting what became of a promotion",
                    object: format!("Promotion/{name}"),
                    source: Box::new(source),
                })?;
            }
            delete(ctx, id, Kind::Promotion, live).await
        }
        Act::ForgetCommand(form, name) => {
            let kind = kind(*form);
            delete(ctx, id, kind, of(kind, name)?).await
        }
        Act::Ship(..) => Ok(()),
    }
}

async fn record(
    ctx: &Context,
    id: &CanaryId,
    kind: Kind,
    live: &Value,
    status: &(impl serde::Serialize + Sync),
) -> Result<(), Error> {
    replace_status(ctx, kind, live, &id.namespace, status)
        .await
        .map(|_| {
            ctx.local
                .accepted(id, &object_name(kind, text(live, "/metadata/name")));
        })
        .inspect_err(|error| doubt(ctx, known_by(id, kind), error))
}

/// The Promotions, Commands or Approvals of a Canary.
fn known_by(id: &CanaryId, kind: Kind) -> Part {
    Part {
        kind,
        namespace: id.namespace.clone(),
        name: id.name.clone(),
    }
}

/// What a refused write was decided on is read once before the next decision; what is gone, too: the answer to an earlier
/// write of ours may have brought it back into the cache.
fn doubt(ctx: &Context, part: Part, error: &Error) {
    let gone = matches!(error, Error::Write { source, .. } if matches!(&**source, kube::Error::Api(status) if status.code == 404));
    if error.is_conflict() || gone {
        ctx.cache.doubt(part);
    }
}

/// Gives containers of the workload other images, on the state that was decided on, and says for whom.
async fn ship(
    ctx: &Context,
    spec: &RolloutSpec,
    snap: &Snapshot,
    promotion: &str,
    images: &BTreeMap<String, String>,
) -> Result<(), Error> {
    let name = &spec.names.target;
    let live = snap.target.as_ref().ok_or_else(|| Error::Stale {
        act: "shipping",
        what: format!("{}/{name}", spec.names.namespace),
    })?;
    let mut ops = vec![guard(live)];
    let containers = live
        .at("/spec/template/spec/containers")
        .and_then(Value::as_array);
    for (n, container) in containers.into_iter().flatten().enumerate() {
        if let Some(image) = images.get(text(container, "/name")) {
            let path = format!("/spec/template/spec/containers/{n}/image");
            ops.push(json!({"op": "replace", "path": path, "value": image}));
        }
    }
    tracing::info!(canary = %spec.id, promotion, ?images, "the workload gets other images");
    let patch: json_patch::Patch =
        serde_json::from_value(Value::Array(ops)).map_err(|source| Error::Json {
            what: "a patch",
            source,
        })?;
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let api = Kind::Deployment.api(&ctx.client, &spec.names.namespace);
    let written = api.patch(name, &params, &Patch::Json::<()>(patch)).await;
    let written = written
        .map_err(|source| Error::Write {
            act: "shipping",
            object: object_name(Kind::Deployment, name),
            source: Box::new(source),
        })
        .inspect_err(|error| {
            let part = Part {
                kind: Kind::Deployment,
                namespace: spec.names.namespace.clone(),
                name: name.clone(),
            };
            doubt(ctx, part, error);
        })?;
    let json = serde_json::to_value(&written).map_err(|source| Error::Json {
        what: "an answer",
        source,
    })?;
    ctx.cache.put(Kind::Deployment, json);
    ctx.local.accepted(&spec.id, &object_name(Kind::Deployment, name));
    Ok(())
}

async fn delete(ctx: &Context, id: &CanaryId, kind: Kind, live: &Value) -> Result<(), Error> {
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(text(live, "/metadata/uid").to_owned()),
            resource_version: Some(text(live, "/metadata/resourceVersion").to_owned()),
        }),
        ..DeleteParams::background()
    };
    match kind
        .api(&ctx.client, &id.namespace)
        .delete(text(live, "/metadata/name"), &params)
        .await
    {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(source) => {
            let error = Error::Write {
                act: "forgetting a promotion",
                object: object_name(kind, text(live, "/metadata/name")),
                source: Box::new(source),
            };
            doubt(ctx, known_by(id, kind), &error);
            return Err(error);
        }
    }
    ctx.cache.remove(kind, live);
    ctx.local
        .accepted(id, &object_name(kind, text(live, "/metadata/name")));
    Ok(())
}
