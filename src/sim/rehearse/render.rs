//! How a rehearsal looks: plain lines for pipes, a timeline to watch for terminals.

use super::{
    play::{Ending, Setup},
    release::in_words,
    timeline::{Check, Entry, Measured, What},
    units::{clock, number},
};
use crate::{
    paint::{Paint, bar},
    rollout::RolloutSpec,
};

/// Below and above which values are painted as bad: the limits of the Canary's own checks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    success: Option<f64>,
    p99: Option<f64>,
}

impl Limits {
    /// The limits of a specification.
    #[must_use]
    pub fn of(spec: &RolloutSpec) -> Limits {
        let of = |name: &str| spec.metrics.iter().find(|metric| metric.name == name);
        Limits {
            success: of("request-success-rate").and_then(|metric| metric.min),
            p99: of("request-duration").and_then(|metric| metric.max),
        }
    }
}

/// What is said before anything happens.
#[must_use]
pub fn opening(setup: &Setup, seed: u64) -> Vec<String> {
    let spec = &setup.input.spec;
    let weights: Vec<String> = spec.steps.weights().iter().map(ToString::to_string).collect();
    let mut lines = vec![
        format!(
            "rehearsal of Canary {}, {} requests a second, seed {seed}",
            spec.id,
            number(setup.rps, 3)
        ),
        format!(
            "policy: steps {}; interval {} s; rolled back at {} failed {}",
            weights.join(", "),
            spec.interval.num_seconds(),
            spec.threshold,
            if spec.threshold == 1 { "check" } else { "checks" }
        ),
    ];
    lines.extend(setup.input.notes.iter().cloned());
    lines.push(format!("present release: {}", in_words(&setup.present)));
    lines
}

/// The line of an event; `None` for a look at the traffic, which is no event, and for what the next line tells.
#[must_use]
pub fn plain(entry: &Entry) -> Option<String> {
    let (label, text) = match &entry.what {
        What::Beat { .. } => return None,
        What::Act { message } => ("·", message.clone()),
        What::Fact { reason, message, .. } => (reason.as_str(), message.clone()),
        What::Checks { checks, .. } if checks.iter().any(|check| !check.passed) => return None,
        What::Checks {
            checks,
            share_percent,
        } => {
            let mut texts: Vec<String> = checks.iter().map(check_text).collect();
            texts.extend(share_percent.map(|share| format!("share {} %", number(share, 1))));
            ("passed", texts.join(", "))
        }
    };
    Some(format!("{:>7}  {label:<22}  {text}", clock(entry.at_seconds)))
}

fn check_text(check: &Check) -> String {
    let unit = check.bound.rsplit(' ').next().unwrap_or_default();
    let value = check.value.map_or("no data".to_owned(), |v| {
        let decimals = if unit == "%" { 2 } else { 0 };
        format!("{} {unit}", number(v, decimals))
    });
    format!("{} {value} ({})", check.name, check.bound)
}

/// The lines above the timeline of a terminal.
#[must_use]
pub fn header() -> [String; 2] {
    [
        format!(
            "{:>7}  {:<12}  {:<26} {:>7}   {:<17}   {:<17}",
            "", "", "canary's weight", "", "success rate of", "p99 of"
        ),
        format!(
            "{:>7}  {:<12}  {:<26} {:>7}   {:>8} {:>8}   {:>8} {:>8}",
            "time", "phase", "as intended", "share", "primary", "canary", "primary", "canary"
        ),
    ]
}

/// The line of an entry in a terminal.
#[must_use]
pub fn live(entry: &Entry, limits: Limits, paint: Paint) -> Option<String> {
    let time = clock(entry.at_seconds);
    match &entry.what {
        What::Beat {
            share_percent,
            primary,
            canary,
        } => {
            let share = share_percent.map_or("–".to_owned(), |share| format!("{share:.1} %"));
            Some(format!(
                "{time:>7}  {:<12}  {:>3} % {} {share:>7}   {} {}   {} {}",
                entry.phase,
                entry.weight,
                paint.yellow(&bar(f64::from(entry.weight))),
                success(*primary, limits, paint),
                success(*canary, limits, paint),
                p99(*primary, limits, paint),
                p99(*canary, limits, paint),
            ))
        }
        What::Checks {
            checks,
            share_percent,
        } => {
            let mut texts: Vec<String> = checks
                .iter()
                .map(|check| {
                    let sign = if check.passed { "✓" } else { "✗" };
                    paint.judged(check.passed, &format!("{sign} {}", check_text(check)))
                })
                .collect();
            texts.extend(share_percent.map(|share| format!("share {} %", number(share, 1))));
            Some(format!("{time:>7}  {}", texts.join("  ")))
        }
        What::Act { message } => Some(format!("{time:>7}  {}", paint.bold(&format!("· {message}")))),
        What::Fact { warning, message, .. } => {
            let text = format!("· {message}");
            let text = if *warning {
                paint.yellow(&text)
            } else {
                paint.dim(&text)
            };
            Some(format!("{time:>7}  {text}"))
        }
    }
}

fn success(measured: Measured, limits: Limits, paint: Paint) -> String {
    measured.success_percent.map_or(format!("{:>8}", "–"), |rate| {
        let good = limits.success.is_none_or(|least| rate >= least);
        paint.judged(good, &format!("{rate:>6.1} %"))
    })
}

fn p99(measured: Measured, limits: Limits, paint: Paint) -> String {
    measured.p99_ms.map_or(format!("{:>8}", "–"), |p99| {
        let good = limits.p99.is_none_or(|most| p99 <= most);
        let text = format!("{p99:>5.0} ms");
        if good { text } else { paint.judged(false, &text) }
    })
}

/// The last lines: what callers saw, and the verdict with its reason.
#[must_use]
pub fn closing(ending: &Ending, paint: Paint) -> Vec<String> {
    let (requests, verdict) = (ending.requests, &ending.verdict);
    let text = format!(
        "{} after {}",
        verdict.outcome.words(),
        clock(verdict.after_seconds)
    );
    vec![
        format!(
            "{} requests: {} failed, {} answered with 500 and {} lost",
            requests.sent,
            requests.failed(),
            requests.answered_with_error,
            requests.lost
        ),
        format!(
            "{}: {}",
            paint.bold(&paint.judged(verdict.exit_code == 0, &text)),
            verdict.reason
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(what: What) -> Entry {
        Entry {
            at_seconds: 65.0,
            phase: "Progressing".to_owned(),
            weight: 10,
            what,
        }
    }

    #[test]
    fn header_and_lines_have_their_columns_in_common() {
        let beat = What::Beat {
            share_percent: Some(10.4),
            primary: Measured {
                success_percent: Some(100.0),
                p99_ms: Some(18.0),
            },
            canary: Measured::default(),
        };
        let line = live(&entry(beat), Limits::default(), Paint::default()).unwrap();
        assert_eq!(
            line,
            "   1:05  Progressing    10 % ██··················  10.4 %    100.0 %        –      18 ms        –"
        );
        for above in header() {
            assert_eq!(line.chars().count(), above.chars().count(), "{above}");
        }
        assert!(line.chars().count() <= 100);
    }

    #[test]
    fn plain_lines_tell_events_and_what_passed() {
        let check = Check {
            name: "request-duration".to_owned(),
            passed: true,
            value: Some(37.4),
            bound: "≤ 500 ms".to_owned(),
        };
        let checks = |passed| What::Checks {
            checks: vec![Check {
                passed,
                ..check.clone()
            }],
            share_percent: Some(9.96),
        };
        assert_eq!(
            plain(&entry(checks(true))).unwrap(),
            "   1:05  passed                  request-duration 37 ms (≤ 500 ms), share 10 %"
        );
        assert_eq!(plain(&entry(checks(false))), None);
        let fact = What::Fact {
            reason: "CheckFailed".to_owned(),
            warning: true,
            message: "why".to_owned(),
        };
        assert_eq!(
            plain(&entry(fact)).unwrap(),
            "   1:05  CheckFailed             why"
        );
    }
}
