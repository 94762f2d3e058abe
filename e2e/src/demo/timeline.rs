//! How a rollout looks, line by line.

use std::time::Duration;

use bellwether::paint::{Paint, bar};

use crate::traffic::Stats;

/// Below this success rate in percent a number is painted as a warning.
const GOOD: f64 = 99.0;

/// One version's answers since the last line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Side {
    /// Percent of requests that did not fail; `None` without requests.
    pub success: Option<f64>,
    /// 99 in 100 answers took no longer.
    pub p99: Duration,
}

impl Side {
    /// Sums up the answers of one version.
    pub fn of(stats: &Stats) -> Self {
        let all = stats.requests as f64;
        let failed = stats.failed() as f64;
        Self {
            success: (stats.requests > 0).then(|| 100.0 * (all - failed) / all),
            p99: stats.p99,
        }
    }

    fn success(self, paint: Paint) -> String {
        match self.success {
            None => format!("{:>8}", "–"),
            Some(rate) => {
                let text = format!("{rate:>6.1} %");
                paint.judged(rate >= GOOD, &text)
            }
        }
    }

    fn p99(self) -> String {
        match self.success {
            None => format!("{:>7}", "–"),
            Some(_) => format!("{:>4.0} ms", self.p99.as_secs_f64() * 1e3),
        }
    }
}

/// One line of the timeline.
#[derive(Clone, Debug)]
pub struct Row {
    /// Since the act began.
    pub at: Duration,
    /// Phase of the rollout.
    pub phase: String,
    /// The canary's weight in percent, as intended.
    pub weight: i64,
    /// The canary's share of the answers that came through Envoy, in `0.0..=1.0`.
    pub share: f64,
    /// The primary's answers.
    pub primary: Side,
    /// The canary's answers.
    pub canary: Side,
}

impl Row {
    /// The line.
    pub fn line(&self, paint: Paint) -> String {
        format!(
            "{}  {:<12}  {:>3} % {}  {:>5.1} %   {} {}   {} {}",
            clock(self.at),
            self.phase,
            self.weight,
            paint.yellow(&bar(self.weight as f64)),
            self.share * 100.0,
            self.primary.success(paint),
            self.canary.success(paint),
            self.primary.p99(),
            self.canary.p99(),
        )
    }
}

/// The lines above the timeline.
pub fn header() -> [String; 2] {
    [
        format!(
            "{:>6}  {:<12}  {:<26} {:>8}   {:<17}   {:<15}",
            "", "", "canary's weight", "share", "success rate of", "p99 of"
        ),
        format!(
            "{:>6}  {:<12}  {:<26} {:>8}   {:>8} {:>8}   {:>7} {:>7}",
            "time", "phase", "as intended", "at Envoy", "primary", "canary", "primary", "canary"
        ),
    ]
}

/// What the controller says, between the lines.
pub fn remark(at: Duration, message: &str) -> String {
    format!("{}  · {message}", clock(at))
}

fn clock(at: Duration) -> String {
    let seconds = at.as_secs();
    format!("{:>3}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_lines_have_their_columns_in_common() {
        let none = Side::of(&Stats::default());
        let row = Row {
            at: Duration::from_secs(65),
            phase: "Progressing".into(),
            weight: 10,
            share: 0.104,
            primary: Side {
                success: Some(100.0),
                p99: Duration::from_millis(18),
            },
            canary: none,
        };
        let line = row.line(Paint::default());
        assert_eq!(
            line,
            "  1:05  Progressing    10 % ██··················   10.4 %    100.0 %        –     18 ms       –"
        );
        for above in header() {
            assert_eq!(line.chars().count(), above.chars().count(), "{above}");
        }
        assert!(line.chars().count() <= 110);
    }
}
