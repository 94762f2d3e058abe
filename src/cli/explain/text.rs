//! An explanation for people.

use chrono::{DateTime, Utc};

use crate::{
    cli::{
        get::{painted, rollout, span},
        output::short,
    },
    explain::Explanation,
    paint::{Paint, bar},
};

/// Orders and rollouts that are shown unless it is wide.
const SHOWN: usize = 3;

/// Lines below their titles.
struct Page {
    text: String,
    now: DateTime<Utc>,
    wide: bool,
    paint: Paint,
}

/// The explanation as it was at `now`.
pub(super) fn of(told: &Explanation, now: DateTime<Utc>, wide: bool, paint: Paint) -> String {
    let mut page = Page {
        text: String::new(),
        now,
        wide,
        paint,
    };
    page.head(told);
    page.revisions(told);
    page.hindrances(told);
    page.checks(told);
    let next = told.next.iter().map(|next| {
        let at = next
            .at
            .map_or_else(String::new, |at| format!("{}: ", page.until(at)));
        format!("{at}{}", next.what)
    });
    let next: Vec<String> = next.collect();
    page.section("next", next);
    page.past(told);
    page.text
}

impl Page {
    fn section(&mut self, title: &str, lines: impl IntoIterator<Item = String>) {
        for (n, line) in lines.into_iter().enumerate() {
            let title = if n == 0 { title } else { "" };
            let title = self.paint.dim(&format!("{title:<10}"));
            self.text.push_str(&format!("{title} {}\n", line.trim_end()));
        }
    }

    /// An instant; with its day if that is another one.
    fn time(&self, at: DateTime<Utc>) -> String {
        let form = if at.date_naive() == self.now.date_naive() {
            "%H:%M:%S"
        } else {
            "%Y-%m-%d %H:%M:%S"
        };
        at.format(form).to_string()
    }

    fn since(&self, at: DateTime<Utc>) -> String {
        format!("since {} ({})", self.time(at), span(self.now - at))
    }

    fn until(&self, at: DateTime<Utc>) -> String {
        if at > self.now {
            format!("{} (in {})", self.time(at), span(at - self.now))
        } else {
            format!("{} (now)", self.time(at))
        }
    }

    fn digest<'a>(&self, revision: &'a str) -> &'a str {
        if self.wide { revision } else { short(revision) }
    }

    fn head(&mut self, told: &Explanation) {
        let paint = self.paint;
        let phase = told.phase.map_or("-".to_owned(), |phase| phase.to_string());
        let step = told.step.as_ref().map_or_else(String::new, |step| {
            let of = step.of.map_or_else(String::new, |of| format!(" of {of}"));
            format!("  step {}{of} {}", step.number, self.since(step.since))
        });
        self.text.push_str(&format!(
            "{}  {} {} {:>3} %{step}\n",
            paint.bold(&format!("{}/{}", told.namespace, told.name)),
            painted(&phase, paint),
            paint.yellow(&bar(f64::from(told.weight))),
            told.weight,
        ));
        let since = told.since.map(|since| format!("{phase} {}", self.since(since)));
        self.section("now", told.message.iter().cloned().chain(since));
    }

    fn revisions(&mut self, told: &Explanation) {
        let known = &told.revision;
        let mut lines = Vec::new();
        if let Some(current) = &known.current {
            let began = known
                .started_at
                .map(|at| format!(", its rollout began {}", self.time(at)));
            lines.push(format!(
                "{} of {}{}",
                self.digest(current),
                told.workload,
                began.unwrap_or_default()
            ));
        }
        for (revision, what) in [
            (&known.promoted, "promoted"),
            (&known.previous, "promoted before"),
        ] {
            if let Some(revision) = revision {
                let same = known.current.as_ref() == Some(revision);
                let same = if same { ", the same" } else { "" };
                lines.push(format!("{} {what}{same}", self.digest(revision)));
            }
        }
        self.section("revision", lines);
    }

    fn hindrances(&mut self, told: &Explanation) {
        let paint = self.paint;
        let mut lines = Vec::new();
        for hold in &told.holds {
            let reason = paint.judged(false, &hold.reason.to_string());
            lines.push(format!("{reason} {}: {}", self.since(hold.since), hold.message));
            if hold.retreated {
                lines.push("the traffic was taken back to the primary".to_owned());
            }
        }
        if !lines.is_empty() {
            self.section("held", lines);
        }
        if let Some(pause) = &told.pause {
            let line = format!(
                "by {} {}{}",
                paint.bold(&pause.by),
                self.since(pause.since),
                why(&pause.reason)
            );
            self.section("paused", [line]);
        }
        if let Some(retirement) = &told.retirement {
            let kind = paint.judged(false, &format!("{:?}", retirement.kind));
            let line = format!("{kind} {}: {}", self.since(retirement.since), retirement.message);
            self.section("withdrawn", [line]);
        }
    }

    fn checks(&mut self, told: &Explanation) {
        let paint = self.paint;
        let width = told
            .checks
            .iter()
            .map(|check| check.name.len())
            .max()
            .unwrap_or_default();
        let lines: Vec<String> = told
            .checks
            .iter()
            .map(|check| {
                let value = check.value.map_or("-".to_owned(), |value| format!("{value:.2}"));
                let outcome = match check.outcome.as_str() {
                    "Pass" => paint.judged(true, &check.outcome),
                    "Bad" => paint.judged(false, &check.outcome),
                    other => paint.yellow(other),
                };
                format!(
                    "{:<width$} {value:>10} ({}) {outcome} at {}",
                    check.name,
                    check.bound,
                    self.time(check.at)
                )
            })
            .collect();
        self.section("checks", lines);
        if let Some(threshold) = told
            .threshold
            .filter(|_| told.failed_checks > 0 || told.step.is_some())
        {
            let text = format!("{} of {threshold} failed checks", told.failed_checks);
            let text = if told.failed_checks > 0 {
                paint.judged(false, &text)
            } else {
                text
            };
            self.section("failed", [text]);
        }
    }

    fn past(&mut self, told: &Explanation) {
        let shown = if self.wide { usize::MAX } else { SHOWN };
        let orders: Vec<String> = told
            .interventions
            .iter()
            .take(shown)
            .map(|order| {
                let refused = order.refused.as_ref().map(|why| format!("; refused: {why}"));
                format!(
                    "{}  {:?} of {} by {}{}{}",
                    order.at.format("%Y-%m-%d %H:%M:%S"),
                    order.verb,
                    self.digest(&order.revision),
                    order.by,
                    why(&order.reason),
                    refused.unwrap_or_default()
                )
            })
            .collect();
        self.section("orders", orders);
        let (wide, paint) = (self.wide, self.paint);
        let rollouts = told
            .history
            .iter()
            .take(shown)
            .map(|past| rollout(past, wide, paint));
        self.section("rollouts", rollouts);
    }
}

fn why(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    }
}
