//! What a round sees of the world.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::TimeDelta;

use super::{
    super::tests::{scraped, undisturbed},
    World,
};
use crate::{
    judge::{Reading, Sample, Traffic},
    rollout::{Apex, Observed, Routes},
};

impl World {
    pub(super) fn observe(&mut self) -> Observed {
        let window = TimeDelta::seconds(3);
        let metric = TimeDelta::seconds(10);
        // One sample a second; rates are steady, so that a window holds only what its newest part brought.
        let steady = self.now - self.proxies_since >= window;
        let canary_requests = 100.0 * f64::from(self.proxies.percent());
        let answers = self.target.healthy && self.target.desired > 0;
        let count = |requests: f64, answers: bool| {
            if !self.metrics {
                Reading::Error("down".to_owned())
            } else if answers {
                Reading::Value(requests)
            } else {
                Reading::NoData
            }
        };
        let canary = count(canary_requests, answers && steady);
        let reached = canary.value().is_some_and(|count| count > 0.0);
        if reached {
            self.reached_at = Some(self.now);
        }
        let primary_requests = 100.0 * f64::from(self.proxies.complement().percent());
        let primary = count(primary_requests, self.primary.as_ref().is_some_and(|p| p.healthy));
        let rate = match &canary {
            Reading::Value(_) if !reached => Reading::NoData,
            Reading::Value(_) if self.now - self.proxies_since < metric => Reading::NoData,
            Reading::Value(_) if self.target.revision.starts_with("bad") => Reading::Value(50.0),
            Reading::Value(_) => Reading::Value(100.0),
            other => other.clone(),
        };
        Observed {
            status: self.status.clone(),
            target: Some(self.target.workload(self.mark, self.recreate)),
            primary: self.primary.as_ref().map(|p| p.workload(1, self.recreate)),
            apex: Apex {
                serves: Some(self.apex),
                endpoints: 2,
            },
            routes: self.route.map_or(Routes::Missing, |weight| Routes::Present {
                weight: Some(weight),
                split: true,
                owned: true,
                in_shape: true,
            }),
            routing_since: self.routing_since,
            sampled_since: self.routing_since,
            template_since: self.template_since,
            sample: Some(Arc::new(Sample {
                at: self.now,
                window: Duration::from_secs(10),
                readings: BTreeMap::from([("request-success-rate".to_owned(), rate)]),
                traffic: Traffic {
                    window: Duration::from_secs(3),
                    canary,
                    primary,
                    reached_at: self.reached_at,
                },
                scrape_interval: Some(Duration::from_secs(1)),
                seen: scraped(),
                ..Sample::default()
            })),
            repeats: self.repeats.values().cloned().collect(),
            untold: self.untold(),
            orders: self
                .orders
                .iter()
                .filter(|order| !self.heeded(order))
                .cloned()
                .collect(),
            gate_news: self.news.clone(),
            freezing: self.freezing.clone(),
            told: self.status.outbox.seq,
            ..undisturbed()
        }
    }
}
