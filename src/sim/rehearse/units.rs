//! Values as people write them, each with its unit: `2%`, `p99=800ms`, `3m`, `5m..10m`.

use chrono::TimeDelta;

use crate::duration::parse;

/// The 99th percentile of an exponential distribution is this many times its mean: the logarithm of 100.
pub const P99_OVER_MEAN: f64 = 4.605_170_185_988_092;

/// A share from 0 to 1, written in percent.
///
/// # Errors
/// What is wrong and what would be right.
pub fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').map(str::trim);
    let value = number.and_then(|n| n.parse::<f64>().ok());
    value
        .filter(|v| (0.0..=100.0).contains(v))
        .map(|v| v / 100.0)
        .ok_or_else(|| format!("{text:?} is no share; write it in percent, from 0% to 100%, such as 2%"))
}

/// A mean latency in milliseconds, written as `p99=800ms` or `mean=20ms`.
///
/// # Errors
/// What is wrong and what would be right.
pub fn latency(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is no latency; write p99=800ms, p99=1.5s or mean=20ms");
    let (which, time) = text.split_once('=').ok_or_else(wrong)?;
    let number = |n: &str| n.trim().parse::<f64>().ok().filter(|v| *v > 0.0 && *v <= 6e5);
    let milliseconds = match time.strip_suffix("ms") {
        Some(n) => number(n),
        None => time.strip_suffix('s').and_then(number).map(|s| s * 1e3),
    };
    let milliseconds = milliseconds.ok_or_else(wrong)?;
    match which.trim() {
        "p99" => Ok(milliseconds / P99_OVER_MEAN),
        "mean" => Ok(milliseconds),
        _ => Err(wrong()),
    }
}

/// A duration such as `90s`, `3m` or `1m30s`; at most a day.
///
/// # Errors
/// What is wrong and what would be right.
pub fn duration(text: &str) -> Result<TimeDelta, String> {
    let wrong = || format!("{text:?} is no duration; write 90s, 3m or 1m30s, at most 24h");
    parse(text.trim())
        .filter(|span| *span <= TimeDelta::hours(24))
        .ok_or_else(wrong)
}

/// From when to when, written as `5m..10m`.
///
/// # Errors
/// What is wrong and what would be right.
pub fn span(text: &str) -> Result<(TimeDelta, TimeDelta), String> {
    let (from, to) = text
        .split_once("..")
        .ok_or_else(|| format!("{text:?} is no span of time; write 5m..10m"))?;
    let (from, to) = (duration(from)?, duration(to)?);
    if from >= to {
        return Err(format!("{text:?} ends before it begins"));
    }
    Ok((from, to))
}

/// Minutes and seconds.
#[must_use]
pub fn clock(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    format!("{}:{:02}", whole / 60, whole % 60)
}

/// A number without trailing zeros, with at most `decimals` of them.
#[must_use]
pub fn number(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_with_their_units() {
        assert_eq!(percent("2%"), Ok(0.02));
        assert_eq!(percent("0.5 %"), Ok(0.005));
        assert_eq!(latency("mean=20ms"), Ok(20.0));
        assert!((latency("p99=1s").unwrap() * P99_OVER_MEAN - 1000.0).abs() < 1e-9);
        assert_eq!(duration("1m30s"), Ok(TimeDelta::seconds(90)));
        assert_eq!(
            span("5m..10m"),
            Ok((TimeDelta::minutes(5), TimeDelta::minutes(10)))
        );
        assert_eq!(clock(431.9), "7:11");
        assert_eq!(number(99.50, 2), "99.5");
        assert_eq!(number(100.0, 0), "100");
    }

    #[test]
    fn values_without_sense_are_refused() {
        for text in ["2", "-1%", "101%", "x%", "%"] {
            assert!(percent(text).is_err(), "{text}");
        }
        for text in ["800ms", "p99=800", "p98=1s", "p99=-1s", "p99=0ms"] {
            assert!(latency(text).is_err(), "{text}");
        }
        for text in ["3", "25h", "-3m", "", "1m-5s", "99999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
        for text in ["5m", "10m..5m", "5m..5m", "..5m"] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
