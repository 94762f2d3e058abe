//! Windows of freezes, understood once and searched for only when the one before is over: each is looked at in every round
//! of every Canary, and a search for the next occurrence may go through centuries.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use croner::parser::{CronParser, Seconds, Year};

use crate::{api::FreezeWindow, duration};

/// Windows that are kept; with more all are understood anew.
const KEPT: usize = 1024;

/// Schedule, duration and time zone.
type Written = (String, String, Option<String>);
type Understood = Result<Arc<Window>, String>;

static KNOWN: LazyLock<Mutex<HashMap<Written, Understood>>> = LazyLock::new(Mutex::default);

/// A window that was understood.
pub(super) struct Window {
    schedule: croner::Cron,
    zone: Tz,
    duration: TimeDelta,
    found: Mutex<Option<Found>>,
}

/// Occurrences that follow each other, and from when on that is known.
#[derive(Clone, Copy)]
struct Found {
    known_from: DateTime<Utc>,
    last: Option<DateTime<Utc>>,
    next: Option<DateTime<Utc>>,
}

impl Found {
    fn holds(&self, now: DateTime<Utc>) -> bool {
        self.last.unwrap_or(self.known_from) <= now && self.next.is_none_or(|next| now < next)
    }
}

/// A window as seen at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Around {
    /// When the window ends that it lies in.
    pub(super) ends: Option<DateTime<Utc>>,
    /// When the next one begins.
    pub(super) begins: Option<DateTime<Utc>>,
}

/// What `window` means, or why it cannot be understood.
pub(super) fn understood(window: &FreezeWindow) -> Understood {
    let written = (
        window.schedule.clone(),
        window.duration.clone(),
        window.time_zone.clone(),
    );
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = known.get(&written) {
        return found.clone();
    }
    if known.len() >= KEPT {
        known.clear();
    }
    let read = parse(window).map(Arc::new);
    known.insert(written, read.clone());
    read
}

fn parse(window: &FreezeWindow) -> Result<Window, String> {
    let parser = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build();
    let schedule = parser
        .parse(&window.schedule)
        .map_err(|error| format!("schedule {:?}: {error}", window.schedule))?;
    // Without a year it comes again and again, or never.
    if schedule
        .find_next_occurrence(&DateTime::<Utc>::UNIX_EPOCH, true)
        .is_err()
    {
        return Err(format!(
            "schedule {:?}: it never comes; a day that exists is needed",
            window.schedule
        ));
    }
    let zone = window.time_zone.as_deref().unwrap_or("UTC");
    let zone = zone
        .parse()
        .map_err(|_| format!("timeZone {zone:?}: is no time zone such as Europe/Berlin"))?;
    let duration = duration::parse(&window.duration)
        .filter(|duration| *duration >= TimeDelta::minutes(1) && *duration <= TimeDelta::days(31))
        .ok_or_else(|| format!("duration {:?}: must be one from 1m to 744h", window.duration))?;
    Ok(Window {
        schedule,
        zone,
        duration,
        found: Mutex::default(),
    })
}

impl Window {
    /// The window as seen at `now`.
    pub(super) fn around(&self, now: DateTime<Utc>) -> Around {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let around = match *found {
            Some(known) if known.holds(now) => known,
            _ => *found.insert(self.find(now)),
        };
        Around {
            ends: around
                .last
                .map(|begun| begun + self.duration)
                .filter(|end| now < *end),
            begins: around.next,
        }
    }

    fn find(&self, now: DateTime<Utc>) -> Found {
        let there = now.with_timezone(&self.zone);
        let utc = |found: DateTime<Tz>| found.with_timezone(&Utc);
        Found {
            known_from: now,
            last: self.schedule.find_previous_occurrence(&there, true).ok().map(utc),
            next: self.schedule.find_next_occurrence(&there, false).ok().map(utc),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(schedule: &str) -> FreezeWindow {
        FreezeWindow {
            schedule: schedule.to_owned(),
            duration: "1h".to_owned(),
            time_zone: None,
        }
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn schedule_is_searched_once_until_its_next_window() {
        let (first, second) = (
            understood(&written("7 0 29 2 *")).unwrap(),
            understood(&written("7 0 29 2 *")).unwrap(),
        );
        assert!(Arc::ptr_eq(&first, &second), "understood once");
        let searched = || first.found.lock().unwrap().map(|found| found.known_from);
        let looks = [
            "2026-11-25T12:00:00Z",
            "2026-11-25T13:00:00Z",
            "2028-02-29T00:06:59Z",
        ];
        for now in looks.map(at) {
            let next = Some(at("2028-02-29T00:07:00Z"));
            assert_eq!(
                first.around(now),
                Around {
                    ends: None,
                    begins: next
                }
            );
            assert_eq!(searched(), Some(at(looks[0])));
        }
        let inside = at("2028-02-29T00:07:00Z");
        assert_eq!(first.around(inside).ends, Some(at("2028-02-29T01:07:00Z")));
        assert_eq!(searched(), Some(inside));
    }

    #[test]
    fn schedule_that_never_comes_is_refused_once_and_remembered() {
        let never = written("7 0 30 2 *");
        let problem = understood(&never).err().unwrap();
        assert!(problem.contains("\"7 0 30 2 *\": it never comes"), "{problem}");
        let known = KNOWN.lock().unwrap();
        assert!(known.contains_key(&(never.schedule, never.duration, None)));
    }
}
