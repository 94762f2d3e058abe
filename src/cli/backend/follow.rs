//! A promotion from the first line of its log to its end: every line once, whichever way it comes.

use anyhow::Context as _;

use super::{Cluster, PACE, State, client::rest, cluster::typed, hook::HookApi, watch::Watched};
use crate::{
    api::{Canary, Log, Promotion},
    cli::output::note,
    hook_api::view::PromotionView,
    reconcile::kinds::Kind,
};

/// How often the end of a log is asked for that a replica does not have yet.
const PATIENCE: u32 = 15;

/// A promotion that is followed.
pub(crate) enum Following {
    /// Over a watch.
    Watch {
        promotion: Watched,
        /// Tells how many steps there are.
        canary: Option<Box<Canary>>,
        /// The log of the state that came last.
        lines: Option<Log>,
        offset: i64,
    },
    /// By long polls.
    Poll(Poll),
}

impl Following {
    pub(super) async fn watch(cluster: &Cluster, name: &str) -> anyhow::Result<Following> {
        let promotion = cluster.promotion(name).await?;
        let promotion =
            promotion.with_context(|| format!("there is no Promotion {}/{name}", cluster.namespace))?;
        // The verdict does not depend on it.
        let canary = cluster.canary(&promotion.spec.canary_ref.name).await.ok();
        Ok(Following::Watch {
            promotion: cluster.watch(Kind::Promotion, name),
            canary: canary.map(Box::new),
            lines: None,
            offset: 0,
        })
    }

    pub(super) fn poll(hook: &HookApi, id: &str) -> Following {
        Following::Poll(Poll {
            hook: hook.clone(),
            id: id.to_owned(),
            seq: None,
            offset: 0,
        })
    }

    /// The state, when it is another.
    pub(crate) async fn state(&mut self) -> anyhow::Result<State> {
        match self {
            Following::Poll(poll) => poll.newer().await,
            Following::Watch {
                promotion,
                canary,
                lines,
                ..
            } => {
                let promotion: Promotion = typed(&promotion.next().await?)?;
                *lines = promotion.status.as_ref().map(|status| status.log.clone());
                State::of(&PromotionView::of(&promotion, canary.as_deref()))
            }
        }
    }

    /// The lines of the log that came with this state and were not told before.
    pub(crate) async fn lines(&mut self, state: &State) -> anyhow::Result<String> {
        match self {
            Following::Poll(poll) => poll.log(state).await,
            Following::Watch { lines, offset, .. } => {
                let part = lines.take().map(|log| log.from(*offset));
                Ok(part.map_or_else(String::new, |part| {
                    *offset = part.end;
                    part.text
                }))
            }
        }
    }
}

/// A promotion that is asked for by long polls. With several replicas one may be a moment behind another: what goes back
/// is no news, and what is not there yet is asked for again.
pub(crate) struct Poll {
    hook: HookApi,
    id: String,
    /// Number of the newest state that was told.
    seq: Option<i64>,
    /// Bytes of the log that were told.
    offset: i64,
}

impl Poll {
    async fn newer(&mut self) -> anyhow::Result<State> {
        loop {
            let began = tokio::time::Instant::now();
            let state = self.hook.state(&self.id, self.seq).await?;
            if self.seq.is_none_or(|known| state.seen.seq > known) {
                self.seq = Some(state.seen.seq);
                return Ok(state);
            }
            rest(PACE.saturating_sub(began.elapsed())).await;
        }
    }

    async fn log(&mut self, state: &State) -> anyhow::Result<String> {
        let (mut text, mut in_vain) = (String::new(), 0);
        while self.offset < state.seen.log_bytes {
            let part = self.hook.log(&self.id, self.offset).await?;
            if part.end > self.offset {
                self.offset = part.end;
                text.push_str(&part.text);
                continue;
            }
            // The rest comes with the next state, if there will be one.
            if !state.seen.finished {
                break;
            }
            if in_vain == PATIENCE {
                note("the end of the log did not come");
                break;
            }
            in_vain += 1;
            rest(PACE).await;
        }
        Ok(text)
    }
}
