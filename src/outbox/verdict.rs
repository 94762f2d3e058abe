//! What an answer to an event means, and how long to wait before it is sent again. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// Longest pause between two tries.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// First pause between two tries.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause that a sink may ask for.
const MAX_WISH: Duration = Duration::from_secs(600);

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was answered.
    Said {
        /// The HTTP status.
        code: u16,
        /// The header `Retry-After`.
        retry_after: Option<String>,
    },
    /// It was not, in time.
    TimedOut,
    /// It could not be sent, or the connection broke.
    Unreachable(String),
    /// It could not be made: what it needs on our side is missing.
    Unready(String),
}

/// What an answer means for the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is told.
    Told,
    /// It is to be sent again, not before the pause that the sink asks for.
    Again(Option<Duration>),
    /// It will not be taken, however often it is sent.
    GivenUp,
}

impl Answer {
    /// What it means; `now` is for a sink that names an instant.
    #[must_use]
    pub fn verdict(&self, now: DateTime<Utc>) -> Verdict {
        match self {
            Answer::Said { code: 200..=299, .. } => Verdict::Told,
            Answer::Said {
                code: 408 | 429 | 500..,
                retry_after,
            } => Verdict::Again(retry_after.as_deref().and_then(|text| requested_pause(text, now))),
            Answer::Said { .. } => Verdict::GivenUp,
            Answer::TimedOut | Answer::Unreachable(_) | Answer::Unready(_) => Verdict::Again(None),
        }
    }

    /// The answer as a metric label.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Answer::Said { code, .. } if (100..600).contains(code) => code.to_string(),
            Answer::Said { .. } => "nonsense".to_owned(),
            Answer::TimedOut => "timeout".to_owned(),
            Answer::Unreachable(_) => "unreachable".to_owned(),
            Answer::Unready(_) => "unready".to_owned(),
        }
    }

    /// The answer in words.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Answer::Said { code, .. } => format!("HTTP status {code}"),
            Answer::TimedOut => "no answer in time".to_owned(),
            Answer::Unreachable(why) | Answer::Unready(why) => why.clone(),
        }
    }
}

/// The pause that a sink asks for: seconds or an instant.
fn requested_pause(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let text = text.trim();
    let pause = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => (DateTime::parse_from_rfc2822(text).ok()?.to_utc() - now)
            .to_std()
            .unwrap_or_default(),
    };
    Some(pause.min(MAX_WISH))
}

/// The pause after the `failures`-th failure in a row, yet to be spread.
#[must_use]
pub fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(10);
    (FIRST_PAUSE * 2_u32.pow(doublings)).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: u16, retry_after: Option<&str>) -> Verdict {
        let retry_after = retry_after.map(str::to_owned);
        Answer::Said { code, retry_after }.verdict(DateTime::UNIX_EPOCH)
    }

    #[test]
    fn success_is_told_trouble_is_tried_again_and_refusal_is_given_up() {
        for code in [200, 201, 202, 204, 299] {
            assert_eq!(said(code, None), Verdict::Told, "{code}");
        }
        for code in [408, 429, 500, 501, 502, 503, 504, 599, 999] {
            assert_eq!(said(code, None), Verdict::Again(None), "{code}");
        }
        for code in [
            100, 199, 300, 301, 302, 307, 308, 400, 401, 403, 404, 409, 410, 413, 415, 422,
        ] {
            assert_eq!(said(code, None), Verdict::GivenUp, "{code}");
        }
        for silence in [
            Answer::TimedOut,
            Answer::Unreachable(String::new()),
            Answer::Unready(String::new()),
        ] {
            assert_eq!(silence.verdict(DateTime::UNIX_EPOCH), Verdict::Again(None));
        }
    }

    #[test]
    fn wished_pause_is_heeded_up_to_ten_minutes() {
        let wished = |text: &str| match said(503, Some(text)) {
            Verdict::Again(pause) => pause.map(|pause| pause.as_secs()),
            other => panic!("{other:?}"),
        };
        assert_eq!(wished("7"), Some(7));
        assert_eq!(wished(" 0 "), Some(0));
        assert_eq!(wished("86400"), Some(600));
        assert_eq!(wished("Thu, 01 Jan 1970 00:00:30 GMT"), Some(30));
        assert_eq!(wished("Wed, 31 Dec 1969 23:59:30 GMT"), Some(0));
        assert_eq!(wished("Wed, 01 Jan 2070 00:00:30 GMT"), Some(600));
        for nonsense in ["", "soon", "-1", "1e9", "99999999999999999999"] {
            assert_eq!(wished(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        let seconds: Vec<f64> = [1, 2, 3, 7, 8, 9, 1000, u32::MAX]
            .map(|failures| pause(failures).as_secs_f64())
            .to_vec();
        assert_eq!(seconds, [0.5, 1.0, 2.0, 32.0, 60.0, 60.0, 60.0, 60.0]);
    }
}
