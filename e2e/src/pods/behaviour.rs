//! How a pod behaves, read from its image and its annotations.
//!
//! The image's tag names a preset (`shop:errors5-2` fails 5 % of its requests), so that `kubectl set image` is enough to
//! ship a bad release; annotations say it in detail, and may be changed while the pod runs.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bellwether::sim::traffic::Barrier;
use k8s_openapi::api::core::v1::Pod;

const PREFIX: &str = "sim.bellwether.dev/";
/// What a good release takes for a request, on average.
const LATENCY: Duration = Duration::from_millis(8);
/// The average of the slow preset; its p99 is 900 ms.
const SLOW_LATENCY: Duration = Duration::from_millis(470);
const READY_AFTER: Duration = Duration::from_millis(500);
const CRASHES_AFTER: Duration = Duration::from_secs(12);
const GOES_DARK_AFTER: Duration = Duration::from_secs(12);

/// How a pod behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Behaviour {
    /// Share of the requests that are answered with an error: 500.
    pub error_rate: f64,
    /// Mean time to an answer.
    pub latency: Duration,
    /// Time from the start to the moment it listens and is ready; `None` for never.
    pub ready_after: Option<Duration>,
    /// Time from ready to a crash, after which it is neither ready nor listening.
    pub crash_after: Option<Duration>,
    /// Time from ready to the moment it stops listening, although it stays ready.
    pub close_ports_after: Option<Duration>,
    /// It does not listen at present, although it is ready.
    pub ports_closed: bool,
    /// Its proxy answers every request with 403.
    pub denies: bool,
    /// It speaks gRPC: what is an error otherwise is status 14 in an answer that is HTTP 200.
    pub grpc: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            error_rate: 0.0,
            latency: LATENCY,
            ready_after: Some(READY_AFTER),
            crash_after: None,
            close_ports_after: None,
            ports_closed: false,
            denies: false,
            grpc: false,
        }
    }
}

impl Behaviour {
    /// Reads it from a pod.
    pub fn of(pod: &Pod) -> Result<Self> {
        let image = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.containers.first()?.image.as_deref());
        let mut behaviour = Self::of_image(image.unwrap_or_default())?;
        if let Some(annotations) = &pod.metadata.annotations {
            behaviour.annotate(annotations)?;
        }
        Ok(behaviour)
    }

    /// The same where requests are kept from it: a connection that is dropped is refused here, which callers hear of at once.
    pub fn behind(mut self, barrier: Option<Barrier>) -> Self {
        self.ports_closed |= barrier == Some(Barrier::Drops);
        self.denies = barrier == Some(Barrier::Denies);
        self
    }

    fn of_image(image: &str) -> Result<Self> {
        let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
        let preset = tag.split_once('-').map_or(tag, |(preset, _)| preset);
        let mut behaviour = Self::default();
        match preset {
            "slow" => behaviour.latency = SLOW_LATENCY,
            "crash" => behaviour.crash_after = Some(CRASHES_AFTER),
            "neverready" => behaviour.ready_after = None,
            "dark" => behaviour.close_ports_after = Some(GOES_DARK_AFTER),
            _ => {
                behaviour.grpc = preset.starts_with("grpc");
                let percent = preset
                    .strip_prefix("errors")
                    .or_else(|| preset.strip_prefix("grpc"));
                if let Some(percent) = percent {
                    behaviour.error_rate = parse_share(percent)? / 100.0;
                }
            }
        }
        Ok(behaviour)
    }

    fn annotate(&mut self, annotations: &BTreeMap<String, String>) -> Result<()> {
        for (name, value) in annotations {
            let Some(name) = name.strip_prefix(PREFIX) else {
                continue;
            };
            match name {
                "error-rate" => self.error_rate = parse_share(value)?,
                "latency" => self.latency = parse_duration(value)?,
                "ready-after" => self.ready_after = Some(parse_duration(value)?),
                "never-ready" => {
                    if value == "true" {
                        self.ready_after = None;
                    }
                }
                "crash-after" => self.crash_after = Some(parse_duration(value)?),
                "close-ports-after" => self.close_ports_after = Some(parse_duration(value)?),
                "ports" => self.ports_closed = value == "closed",
                _ => bail!("unknown annotation {PREFIX}{name}"),
            }
        }
        ensure!(
            (0.0..=1.0).contains(&self.error_rate),
            "an error rate of {}",
            self.error_rate
        );
        Ok(())
    }
}

fn parse_share(text: &str) -> Result<f64> {
    text.parse().with_context(|| format!("not a number: {text}"))
}

fn parse_duration(text: &str) -> Result<Duration> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .with_context(|| format!("no unit in {text}"))?;
    let number: u64 = text[..digits]
        .parse()
        .with_context(|| format!("not a duration: {text}"))?;
    match &text[digits..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        unit => bail!("unknown unit {unit} in {text}"),
    }
}

/// Numbers that look random, but are the same in every run: one pair per request, each in `0.0..1.0`.
pub struct Spread(u64);

impl Spread {
    /// A sequence of its own for every name.
    pub fn new(name: &str) -> Self {
        Self(name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }

    /// The next number.
    pub fn draw(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64
    }
}

/// Turns a number in `0.0..1.0` into a time around the mean: nine in ten requests lie close, the last tenth goes up to twice
/// the mean.
pub fn time_around(mean: Duration, position: f64) -> Duration {
    let factor = if position < 0.9 {
        0.6 + position * 0.67
    } else {
        1.2 + (position - 0.9) * 8.0
    };
    mean.mul_f64(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_of_the_image_names_a_preset() {
        assert_eq!(
            Behaviour::of_image("host:5000/shop:good-1").unwrap(),
            Behaviour::default()
        );
        assert!((Behaviour::of_image("shop:errors5-1").unwrap().error_rate - 0.05).abs() < 1e-9);
        let grpc = Behaviour::of_image("shop:grpc20-1").unwrap();
        assert!(grpc.grpc && (grpc.error_rate - 0.2).abs() < 1e-9);
        assert_eq!(
            Behaviour::of_image("shop:neverready-1").unwrap().ready_after,
            None
        );
        assert!(Behaviour::of_image("shop:errorsmany-1").is_err());
    }

    #[test]
    fn annotations_win_over_the_image() {
        let mut behaviour = Behaviour::of_image("shop:slow-1").unwrap();
        let annotations = [("latency", "20ms"), ("ports", "closed"), ("crash-after", "2m")];
        let annotations = annotations.map(|(name, value)| (format!("{PREFIX}{name}"), value.to_owned()));
        behaviour.annotate(&BTreeMap::from(annotations)).unwrap();
        assert_eq!(behaviour.latency, Duration::from_millis(20));
        assert_eq!(behaviour.crash_after, Some(Duration::from_secs(120)));
        assert!(behaviour.ports_closed);
    }

    #[test]
    fn a_share_of_the_draws_lies_below_that_share() {
        let mut spread = Spread::new("pod");
        let below = (0..10_000).filter(|_| spread.draw() < 0.05).count();
        assert!((400..600).contains(&below), "{below}");
    }

    #[test]
    fn the_slow_preset_has_its_p99_near_900_ms() {
        let p99 = time_around(SLOW_LATENCY, 0.99);
        assert!(
            p99.abs_diff(Duration::from_millis(900)) < Duration::from_millis(15),
            "{p99:?}"
        );
    }
}
