//! The pipeline: observe → decide → act, once per Canary and wake-up.
//!
//! [`watch`] keeps the cache and wakes the Canaries concerned; [`queue`] orders them; [`reconcile`] is one round.
//! Invariant: a round waits for nothing but the API server, and on the steady path reads nothing from it.

pub mod act;
mod adopted; // what was there before its Canary
pub mod cache;
pub mod desired;
pub mod error;
pub mod index;
pub mod kinds;
pub mod local;
pub mod mesh;
pub mod observe;
mod policies; // policies that would not cover a primary
pub mod promotions;
pub mod queue;
mod refusals; // what the API server refuses of one Canary
pub mod run;
mod served; // whether the cluster serves the CRDs of this version
pub mod snapshot;
pub mod watch;
mod watch_health; // watches that fail

use crate::pointer::At;
use std::{mem, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use crate::{
    api::{Canary, CanaryStatus},
    clock::Clock,
    config_file::Reloaded,
    gates::Gates,
    jitter::Jitter,
    leader::Leadership,
    metrics::Metrics,
    metrics_source::sampler::{Request, Sampler, period},
    outbox::Outbox,
    promotion::{self, Unattended},
    rollout::{self, CanaryId, Decision, RolloutSpec, Sampling},
    user_aliases::UserAliases,
};
use cache::Cache;
use error::Error;
use index::{Index, Part};
use kinds::Kind;
use local::Local;
use snapshot::Snapshot;

/// What the controller is told by its flags.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The one namespace to work in; all of them if absent.
    pub namespace: Option<String>,
    /// Labels by which pods of target and primary may be told apart, in order of preference.
    pub selector_labels: Vec<String>,
    /// Prefixes of a workload's own labels and annotations that its primary gets as well; `*` stands for all that are no
    /// marks of a tool.
    pub include_label_prefix: Vec<String>,
    /// How long proxies may go on using a changed route.
    pub drain: TimeDelta,
}

/// Everything a round needs.
pub struct Context {
    /// Client of the API server.
    pub client: kube::Client,
    /// What the flags say.
    pub settings: Settings,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Whether this process decides.
    pub leadership: Leadership,
    /// The spread of pauses.
    pub jitter: Arc<Jitter>,
    /// What the API server last told us.
    pub cache: Cache,
    /// Who is concerned by what.
    pub index: Index,
    /// What is remembered in this process alone.
    pub local: Local,
    /// Samples of the metrics.
    pub sampler: Arc<Sampler>,
    /// Where facts are told.
    pub outbox: Outbox,
    /// Jobs at gates.
    pub gates: Gates,
    /// Which names mean the same person.
    pub aliases: Reloaded<UserAliases>,
    /// The controller's own metrics.
    pub metrics: Metrics,
}

impl Context {
    /// Who decides about `id` now. Every write whose outcome is unknown begins a new epoch, because it may be carried
    /// out later, when something else was decided.
    #[must_use]
    pub fn epoch(&self, id: &CanaryId) -> String {
        let epoch = self.leadership.epoch();
        match self.local.unsettled_writes(id) {
            0 => epoch.to_string(),
            // Canaries may share an object: the name of one must not hide a late write of another.
            more => format!("{epoch}+{id}+{more}"),
        }
    }

    /// Remembers what the API server refused of `id`, if `error` is such a refusal; returns how often in a row it did.
    pub fn note_refusal(&self, id: &CanaryId, error: &Error) -> Option<u32> {
        let Error::Write { act, object, .. } = error else {
            return None;
        };
        let words = error.refusal()?;
        self.metrics.refused(act);
        Some(self.local.refused(id, act, object, words, self.clock.now()))
    }
}

/// What a round leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// Whether something was written, so that there may be more to do at once.
    pub again: bool,
    /// Whether an order was answered: that is progress, however often it happens.
    pub answered: bool,
    /// When to look again even if nothing changes.
    pub wake_at: Option<DateTime<Utc>>,
    /// Whether traffic is at risk.
    pub urgent: bool,
}

/// One round for one Canary.
///
/// # Errors
/// What could not be read or written; the round is to be repeated.
pub async fn reconcile(ctx: &Context, id: &CanaryId) -> Result<Next, Error> {
    crds_are_current(ctx).await?;
    let part = Part {
        kind: Kind::Canary,
        namespace: id.namespace.clone(),
        name: id.name.clone(),
    };
    if ctx.cache.doubted(&part) {
        snapshot::prime(ctx, &part).await?;
    }
    let Some(object) = ctx.cache.get(&part) else {
        forget(ctx, id, &part);
        return promotions::unattended(ctx, id, Unattended::Gone).await;
    };
    let uid = object.at("/metadata/uid").and_then(serde_json::Value::as_str);
    if ctx.local.is_of(id, uid.unwrap_or_default()) {
        ctx.sampler.forget(id);
        ctx.gates.forget(id);
        ctx.outbox.forget(ctx, id);
    }
    let canary = match Canary::deserialize(&*object) {
        Ok(canary) => canary,
        Err(error) => return refuse(ctx, id, &object, &error.to_string()).await,
    };
    let spec = match rollout::validate(&canary, ctx.settings.drain) {
        Ok(spec) => spec,
        Err(invalid) => return refuse(ctx, id, &object, &invalid.to_string()).await,
    };
    concern(ctx, &spec);
    ctx.local.respecified(id, spec.generation);
    let snap = snapshot::take(ctx, &spec, object, Arc::new(canary)).await?;
    follow(ctx, &spec, &snap).await
}

/// Decides on what was read, and carries it out.
async fn follow(ctx: &Context, spec: &RolloutSpec, snap: &Snapshot) -> Result<Next, Error> {
    let id = &spec.id;
    let now = ctx.clock.now();
    let mut seen = observe::observe(ctx, spec, snap, now);
    seen.policies = policies::look(ctx, spec, snap, &seen.status, now).await;
    let mut promoting = promotions::decide(spec, snap, &seen, now);
    seen.orders = mem::take(&mut promoting.orders);
    seen.untold = mem::take(&mut promoting.untold);
    seen.requests = mem::take(&mut promoting.requests);
    ctx.outbox.tell(id, &spec.uid, &seen.status.outbox.pending);
    ctx.gates.follow(spec, &seen.status);
    let decision = rollout::decide(spec, &seen, now);
    ctx.metrics.observe(spec, &seen.status);
    let fades_at = fades_at(ctx, id, now);
    arm_sampler(ctx, spec, &decision);
    let again = !decision.acts.is_empty() || !promoting.acts.is_empty();
    let answered = promoting.acts.iter().any(promotion::Act::answers);
    if spec.deleting {
        // Its last act may be the one that lets it go.
        promotions::perform(ctx, spec, snap, &promoting.acts).await?;
    }
    act::Round::new(ctx, spec, snap).perform(&decision).await?;
    if !spec.deleting {
        // What the rollout writes, promotions look at in the next round; answers to orders are due before the next order.
        let settled = decision.acts.is_empty();
        let due = promoting.acts.into_iter();
        let due: Vec<_> = due.filter(|act| settled || act.answers()).collect();
        promotions::perform(ctx, spec, snap, &due).await?;
    }
    Ok(Next {
        again,
        answered,
        wake_at: [decision.wake_at, promoting.wake_at, fades_at]
            .into_iter()
            .flatten()
            .min(),
        urgent: decision.urgent,
    })
}

/// When what is refused, or the watch that is broken, counts no more if nothing further is heard of it.
fn fades_at(ctx: &Context, id: &CanaryId, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let calm = ctx.local.watches.calm_at(now);
    ctx.local.refusals_end(id).into_iter().chain(calm).min()
}

/// Decides nothing while the served CRD is known to lack a field of the status.
async fn crds_are_current(ctx: &Context) -> Result<(), Error> {
    let Some(field) = ctx.local.lacking() else {
        return Ok(());
    };
    // If nobody tells what is served, the next write does.
    match served::lacking(&ctx.client).await {
        Ok(Some(field)) => Err(Error::CrdOutdated { field }),
        Ok(None) | Err(_) => {
            tracing::info!(field, "trying whether the served CRD has the field now");
            ctx.local.crd_outdated(None);
            Ok(())
        }
    }
}

/// A Canary that cannot be used says so in its status, and its Promotions wait; nothing else is touched.
async fn refuse(
    ctx: &Context,
    id: &CanaryId,
    object: &serde_json::Value,
    problem: &str,
) -> Result<Next, Error> {
    if !ctx.leadership.leads() {
        return Err(Error::NotLeading(id.clone()));
    }
    // Nothing is judged until it can be used.
    ctx.sampler.forget(id);
    // What a newer version wrote, and this one cannot read, is the memory of the rollout: it is not written over.
    let status = match object.get("status") {
        Some(status) => CanaryStatus::deserialize(status).map_err(|source| Error::Json {
            what: "the Canary's status",
            source,
        })?,
        None => CanaryStatus::default(),
    };
    let generation = object
        .at("/metadata/generation")
        .and_then(serde_json::Value::as_i64)
        .unwrap_or_default();
    let next = rollout::refuse(&status, generation, problem, ctx.clock.now());
    if next != status {
        act::record_status(ctx, object, &id.namespace, &next).await?;
    }
    promotions::unattended(ctx, id, Unattended::Refused(problem)).await
}

/// Distance of samples where nothing but the first callers of a service are looked for.
/// A window of the requests is as long with the usual scrapes, so hardly one is missed.
const OCCASIONAL_PERIOD: Duration = Duration::from_secs(30);

fn arm_sampler(ctx: &Context, spec: &RolloutSpec, decision: &Decision) {
    match decision.sampling {
        Sampling::AsBefore => return,
        Sampling::Unwanted => return ctx.sampler.forget(&spec.id),
        Sampling::Wanted | Sampling::Occasional => {}
    }
    let occasional = decision.sampling == Sampling::Occasional;
    let interval = spec.interval.to_std().unwrap_or_default();
    let request = Request {
        namespace: spec.names.namespace.clone(),
        target: spec.names.target.clone(),
        primary: spec.names.primary.clone(),
        period: if occasional {
            OCCASIONAL_PERIOD
        } else {
            period(interval)
        },
        reporter: spec.reporter,
        metrics: if occasional {
            Vec::new()
        } else {
            spec.metrics.clone()
        },
        since: decision.evidence_from,
    };
    ctx.sampler.watch(&spec.id, request);
}

/// Notes what the Canary is concerned by. What nobody is concerned by any more is not kept: its watch passes it over, so it would be
/// out of date when it concerns somebody again.
fn concern(ctx: &Context, spec: &RolloutSpec) {
    for part in ctx.index.set(&spec.id, snapshot::parts(spec, &ctx.index.mesh)) {
        ctx.cache.forget(&part);
    }
}

/// The Canary is gone: nothing of it stays in this process (I11).
fn forget(ctx: &Context, id: &CanaryId, canary: &Part) {
    for part in ctx.index.remove(id) {
        ctx.cache.forget(&part);
    }
    ctx.cache.forget_gone(canary);
    ctx.sampler.forget(id);
    ctx.gates.forget(id);
    ctx.local.forget(id);
    ctx.outbox.forget(ctx, id);
    ctx.metrics.forget(id);
}
