//! Freezes: whether a release may begin now, and when that changes. Pure.
//!
//! Invariant: a freeze that cannot be understood is in force; whoever wrote it meant to keep releases from beginning.

mod thaw; // the end of a freeze, spread over the releases that wait
mod window; // the windows of a freeze, understood once

use chrono::{DateTime, Utc};

use crate::api::{ClusterFreezeSpec, FreezeSpec, FreezeWindow, UnderWay};

pub use thaw::Thaw;

/// A freeze of a namespace, a Canary or the cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Freeze {
    /// What it is called, with its kind.
    pub name: String,
    /// Why.
    pub reason: String,
    /// When it is in force; always if there are none.
    pub windows: Vec<FreezeWindow>,
    /// What becomes of releases that are under way.
    pub under_way: UnderWay,
}

impl Freeze {
    /// The freeze `name` of a namespace, if it is about `canary`.
    #[must_use]
    pub fn of_namespace(name: &str, spec: FreezeSpec, canary: &str) -> Option<Freeze> {
        let about = spec.canary_ref.is_none_or(|meant| meant.name == canary);
        about.then(|| Freeze {
            name: format!("Freeze {name}"),
            reason: spec.reason,
            windows: spec.windows.unwrap_or_default(),
            under_way: spec.under_way,
        })
    }

    /// The freeze `name` of the whole cluster.
    #[must_use]
    pub fn of_cluster(name: &str, spec: ClusterFreezeSpec) -> Freeze {
        Freeze {
            name: format!("ClusterFreeze {name}"),
            reason: spec.reason,
            windows: spec.windows.unwrap_or_default(),
            under_way: spec.under_way,
        }
    }

    /// A freeze that cannot be read.
    #[must_use]
    pub fn unreadable(name: &str, problem: &str) -> Freeze {
        Freeze {
            name: name.to_owned(),
            reason: format!("it cannot be read: {problem}"),
            windows: Vec::new(),
            under_way: UnderWay::Finish,
        }
    }
}

/// What freezes mean now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Freezing {
    /// Why no release may begin, if none may.
    pub frozen: Option<String>,
    /// Whether releases under way take no further step.
    pub holds: bool,
    /// When that changes at the earliest.
    pub changes_at: Option<DateTime<Utc>>,
}

/// What `freezes` mean at `now`.
#[must_use]
pub fn in_force(freezes: &[Freeze], now: DateTime<Utc>) -> Freezing {
    let mut all = Freezing::default();
    for freeze in freezes {
        let State { closed, changes_at } = state(freeze, now);
        all.changes_at = all.changes_at.into_iter().chain(changes_at).min();
        let Some(until) = closed else { continue };
        all.holds |= freeze.under_way == UnderWay::Hold;
        if all.frozen.is_none() {
            all.frozen = Some(format!("{}{until}: {}", freeze.name, freeze.reason));
        }
    }
    all
}

struct State {
    /// How long it is in force, in words, if it is.
    closed: Option<String>,
    changes_at: Option<DateTime<Utc>>,
}

fn state(freeze: &Freeze, now: DateTime<Utc>) -> State {
    if freeze.windows.is_empty() {
        return State {
            closed: Some(String::new()),
            changes_at: None,
        };
    }
    let mut open_at: Option<DateTime<Utc>> = None;
    let mut next: Option<DateTime<Utc>> = None;
    for window in &freeze.windows {
        match window::understood(window) {
            Ok(known) => {
                let around = known.around(now);
                open_at = open_at.max(around.ends);
                next = next.into_iter().chain(around.begins).min();
            }
            Err(problem) => {
                return State {
                    closed: Some(format!(", whose window cannot be understood ({problem})")),
                    changes_at: None,
                };
            }
        }
    }
    State {
        closed: open_at.map(|end| format!(" until {} UTC", end.format("%F %H:%M"))),
        changes_at: open_at.or(next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(schedule: &str, duration: &str, zone: Option<&str>) -> FreezeWindow {
        FreezeWindow {
            schedule: schedule.to_owned(),
            duration: duration.to_owned(),
            time_zone: zone.map(str::to_owned),
        }
    }

    fn freeze(windows: Vec<FreezeWindow>, under_way: UnderWay) -> Freeze {
        Freeze {
            name: "Freeze weekend".to_owned(),
            reason: "nobody is there".to_owned(),
            windows,
            under_way,
        }
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_weekend_is_frozen_from_friday_afternoon_to_monday_morning() {
        // Friday 16:00 to Monday 06:00 in Berlin, which is UTC+1 in November.
        let freezes = [freeze(
            vec![window("0 16 * * FRI", "62h", Some("Europe/Berlin"))],
            UnderWay::Finish,
        )];
        let before = in_force(&freezes, at("2026-11-27T14:59:59Z"));
        assert_eq!(before.frozen, None);
        assert_eq!(before.changes_at, Some(at("2026-11-27T15:00:00Z")));
        let during = in_force(&freezes, at("2026-11-27T15:00:00Z"));
        let text = "Freeze weekend until 2026-11-30 05:00 UTC: nobody is there";
        assert_eq!(during.frozen.as_deref(), Some(text));
        assert_eq!(during.changes_at, Some(at("2026-11-30T05:00:00Z")));
        assert!(!during.holds);
        assert_eq!(
            in_force(&freezes, at("2026-11-30T04:59:59Z")).frozen.as_deref(),
            Some(text)
        );
        let after = in_force(&freezes, at("2026-11-30T05:00:00Z"));
        assert_eq!(after.frozen, None);
        assert_eq!(after.changes_at, Some(at("2026-12-04T15:00:00Z")));
    }

    #[test]
    fn clocks_that_change_move_the_window_with_them() {
        let freezes = [freeze(
            vec![window("0 2 * * *", "1h", Some("Europe/Berlin"))],
            UnderWay::Finish,
        )];
        // 02:00 does not exist on 29 March 2026, and exists twice on 25 October 2026.
        assert!(in_force(&freezes, at("2026-03-28T01:30:00Z")).frozen.is_some());
        assert!(in_force(&freezes, at("2026-03-30T00:30:00Z")).frozen.is_some());
        assert!(in_force(&freezes, at("2026-10-25T00:30:00Z")).frozen.is_some());
    }

    #[test]
    fn night_of_the_clock_change_is_frozen() {
        let frozen = |schedule: &str, duration: &str, now: &str| {
            let window = window(schedule, duration, Some("Europe/Berlin"));
            in_force(&[freeze(vec![window], UnderWay::Finish)], at(now))
                .frozen
                .is_some()
        };
        // 02:30 exists twice on 25 October (00:30Z, 01:30Z) and not on 29 March.
        assert!(frozen("30 2 * * *", "1h", "2026-10-25T00:45:00Z"), "first 02:45");
        assert!(
            frozen("30 2 * * *", "2h", "2026-03-29T01:40:00Z"),
            "03:40 summer time, an hour after 02:30"
        );
        assert!(frozen("0 0 * * SUN", "24h", "2026-03-29T12:00:00Z"));
        assert!(frozen("0 0 * * SUN", "24h", "2026-10-25T12:00:00Z"));
    }

    #[test]
    fn clock_that_goes_back_finds_the_window_before() {
        let freezes = [freeze(vec![window("0 10 * * *", "1h", None)], UnderWay::Finish)];
        let until = |now: &str| in_force(&freezes, at(now)).changes_at;
        assert_eq!(until("2026-11-25T10:30:00Z"), Some(at("2026-11-25T11:00:00Z")));
        assert_eq!(until("2026-11-27T10:30:00Z"), Some(at("2026-11-27T11:00:00Z")));
        assert_eq!(until("2026-11-25T10:30:00Z"), Some(at("2026-11-25T11:00:00Z")));
        assert_eq!(until("2026-11-25T11:00:00Z"), Some(at("2026-11-26T10:00:00Z")));
    }

    #[test]
    fn without_windows_it_is_in_force_until_it_is_deleted() {
        let now = in_force(&[freeze(Vec::new(), UnderWay::Hold)], at("2026-11-27T14:59:59Z"));
        assert_eq!(now.frozen.as_deref(), Some("Freeze weekend: nobody is there"));
        assert!(now.holds);
        assert_eq!(now.changes_at, None);
    }

    #[test]
    fn what_cannot_be_understood_is_in_force_and_says_what_is_wrong() {
        let now = at("2026-11-25T12:00:00Z");
        let bad = [
            (window("soon", "62h", None), "schedule"),
            (window("0 0 16 * * FRI", "62h", None), "schedule"),
            (window("0 0 30 2 *", "1h", None), "\"0 0 30 2 *\": it never comes"),
            (window("0 16 * * FRI", "62h", Some("Mars/Base")), "timeZone"),
            (window("0 16 * * FRI", "62", None), "duration"),
            (window("0 16 * * FRI", "900h", None), "duration"),
            (window("0 16 * * FRI", "1m-5s", None), "duration"),
            (window("0 16 * * FRI", "99999999999999999999h", None), "duration"),
        ];
        for (window, field) in bad {
            let state = in_force(&[freeze(vec![window], UnderWay::Finish)], now);
            assert!(
                state.frozen.clone().is_some_and(|text| text.contains(field)),
                "{state:?}"
            );
        }
    }

    #[test]
    fn of_several_windows_the_last_end_counts() {
        let freezes = [freeze(
            vec![
                window("0 10 * * *", "1h", None),
                window("30 10 * * *", "2h", None),
            ],
            UnderWay::Finish,
        )];
        let state = in_force(&freezes, at("2026-11-25T10:45:00Z"));
        assert_eq!(state.changes_at, Some(at("2026-11-25T12:30:00Z")));
        let none = in_force(&freezes, at("2026-11-25T09:00:00Z"));
        assert_eq!(
            (none.frozen, none.changes_at),
            (None, Some(at("2026-11-25T10:00:00Z")))
        );
    }

    #[test]
    fn a_freeze_of_one_canary_is_about_that_one() {
        let spec = FreezeSpec {
            canary_ref: Some(crate::api::CanaryRef {
                name: "web".to_owned(),
            }),
            reason: "holidays".to_owned(),
            windows: None,
            under_way: UnderWay::Finish,
        };
        assert!(Freeze::of_namespace("f", spec.clone(), "web").is_some());
        assert!(Freeze::of_namespace("f", spec, "api").is_none());
    }
}
