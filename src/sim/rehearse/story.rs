//! What happens while a release is rehearsed: from flags, or from a story in YAML.

use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{release::Release, units};

/// Something that happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Act {
    /// Since the release was shipped.
    pub at: TimeDelta,
    /// What.
    pub action: Action,
}

/// The things that can happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Prometheus cannot be reached.
    MetricsDown,
    /// Prometheus answers, and knows of nothing.
    MetricsEmpty,
    /// Prometheus is well again.
    MetricsUp,
    /// Another image is shipped.
    Ship(Release),
    /// The pod template is set back to what the primary runs.
    Revert,
    /// A pod is killed.
    KillPod(Side),
    /// The Canary is deleted.
    DeleteCanary,
    /// `spec.suspend` is set.
    Suspend,
    /// `spec.suspend` is unset.
    Resume,
    /// Somebody approves the release at this gate.
    Approve(String),
    /// Somebody rejects the release at this gate.
    Reject(String),
    /// The controller is killed and started again, with no memory.
    RestartController,
}

/// The two versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What serves.
    Primary,
    /// What is being released.
    Canary,
}

impl Action {
    /// Whether a release may be decided by it, so that its end is not the end before.
    #[must_use]
    pub fn decides(&self) -> bool {
        !matches!(
            self,
            Action::MetricsDown | Action::MetricsEmpty | Action::MetricsUp | Action::RestartController
        )
    }
}

/// A story.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Story {
    /// The release that is shipped at the beginning.
    pub release: Release,
    /// Requests a second, if the story says.
    pub rps: Option<f64>,
    /// What happens then, in order.
    pub acts: Vec<Act>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    release: Option<Value>,
    rps: Option<f64>,
    #[serde(default)]
    events: Vec<Map<String, Value>>,
}

impl Story {
    /// Reads a story: a list of events, or `{release: …, rps: …, events: […]}`.
    ///
    /// # Errors
    /// The event and the field that cannot be used.
    pub fn parse(text: &str) -> Result<Story, String> {
        let value: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let value = if value.is_array() {
            serde_json::json!({"events": value})
        } else {
            value
        };
        let written: Written = serde_json::from_value(value).map_err(|error| error.to_string())?;
        if written.rps.is_some_and(|rps| !acceptable_rps(rps)) {
            return Err("rps: must lie in 0 to 10000 requests a second".to_owned());
        }
        let release = written.release.map(Release::parse).transpose();
        let mut acts = Vec::new();
        for (i, event) in written.events.into_iter().enumerate() {
            acts.push(act(event).map_err(|problem| format!("event {}: {problem}", i + 1))?);
        }
        acts.sort_by_key(|act: &Act| act.at);
        Ok(Story {
            release: release
                .map_err(|problem| format!("release: {problem}"))?
                .unwrap_or_default(),
            rps: written.rps,
            acts,
        })
    }
}

/// Whether a rehearsal can have this many requests a second.
#[must_use]
pub fn acceptable_rps(rps: f64) -> bool {
    (0.0..=10_000.0).contains(&rps)
}

/// Prometheus is down from when to when.
#[must_use]
pub fn metrics_down((from, to): (TimeDelta, TimeDelta)) -> [Act; 2] {
    [
        Act {
            at: from,
            action: Action::MetricsDown,
        },
        Act {
            at: to,
            action: Action::MetricsUp,
        },
    ]
}

fn act(mut event: Map<String, Value>) -> Result<Act, String> {
    let mut text = |field: &str| match event.remove(field) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(format!("{field}: {other} is no text")),
    };
    let at = text("at")?.ok_or("at: is missing; write when it happens, such as at: 2m")?;
    let at = units::duration(&at).map_err(|problem| format!("at: {problem}"))?;
    let action = text("do")?.ok_or("do: is missing; write what happens, such as do: metrics-down")?;
    let of = if action == "kill-pod" { text("of")? } else { None };
    let gate = match action.as_str() {
        "approve" | "reject" => {
            text("gate")?.ok_or("gate: is missing; write the gate's name, such as gate: look")?
        }
        _ => String::new(),
    };
    let action = match action.as_str() {
        "ship" => Action::Ship(Release::parse(Value::Object(std::mem::take(&mut event)))?),
        "metrics-down" => Action::MetricsDown,
        "metrics-empty" => Action::MetricsEmpty,
        "metrics-up" => Action::MetricsUp,
        "revert" => Action::Revert,
        "kill-pod" => Action::KillPod(match of.as_deref() {
            Some("primary") => Side::Primary,
            Some("canary") | None => Side::Canary,
            Some(other) => return Err(format!("of: {other:?} is neither canary nor primary")),
        }),
        "delete-canary" => Action::DeleteCanary,
        "suspend" => Action::Suspend,
        "resume" => Action::Resume,
        "approve" => Action::Approve(gate),
        "reject" => Action::Reject(gate),
        "restart-controller" => Action::RestartController,
        other => {
            return Err(format!(
                "do: {other:?} is unknown; known are ship, revert, kill-pod, metrics-down, metrics-empty, metrics-up, \
                 suspend, resume, approve, reject, delete-canary and restart-controller"
            ));
        }
    };
    match event.keys().next() {
        Some(field) => Err(format!("unknown field `{field}`")),
        None => Ok(Act { at, action }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn story_is_a_list_or_has_a_release() {
        let list = Story::parse("- {at: 5m, do: metrics-up}\n- {at: 2m, do: metrics-down}\n").unwrap();
        assert_eq!(list.acts[0].action, Action::MetricsDown);
        assert_eq!(list.acts[1].at, TimeDelta::minutes(5));
        let text = "release: {errors: 2%, latency: p99=1s, crash-after: 3m}\nrps: 20\nevents:\n- {at: 1m, do: ship, errors: 0%}\n- {at: 2m, do: kill-pod, of: primary}\n";
        let story = Story::parse(text).unwrap();
        assert_eq!(story.release.errors, Some(0.02));
        assert_eq!(story.rps, Some(20.0));
        assert_eq!(story.acts[1].action, Action::KillPod(Side::Primary));
    }

    #[test]
    fn story_that_makes_no_sense_names_event_and_field() {
        for (text, named) in [
            ("- {at: 5m, do: dance}", "event 1: do: \"dance\""),
            ("- {do: revert}", "event 1: at:"),
            (
                "- {at: 2m, do: revert, of: canary}",
                "event 1: unknown field `of`",
            ),
            (
                "- {at: 2m, do: ship, errors: 2}",
                "event 1: errors: 2 has no unit",
            ),
            ("- {at: 2m, do: ship, errors: 2x}", "event 1: errors:"),
            ("- {at: 2m, do: kill-pod, of: all}", "event 1: of:"),
            ("- {at: 2m, do: approve}", "event 1: gate: is missing"),
            ("- {at: 2m, do: revert, gate: a}", "event 1: unknown field `gate`"),
            ("release: {mood: bad}", "release: mood: unknown field"),
            ("rps: -1", "rps:"),
            ("happens: []", "unknown field `happens`"),
            ("[", ""),
        ] {
            let problem = Story::parse(text).unwrap_err();
            assert!(problem.contains(named), "{text}: {problem}");
        }
    }
}
