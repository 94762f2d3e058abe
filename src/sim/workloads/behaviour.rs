//! How the pods of a release behave, read from the image's tag: `shop:errors5-2` fails five of a hundred requests.

use std::collections::BTreeMap;

use chrono::TimeDelta;

/// How pods behave.
#[derive(Clone, Debug, PartialEq)]
pub struct Behaviour {
    /// Share of requests that are answered with 500, from 0 to 1.
    pub error_rate: f64,
    /// From readiness to the first of these.
    pub errors_after: TimeDelta,
    /// Mean time to an answer in milliseconds; times are exponentially distributed.
    pub latency: f64,
    /// From the start to readiness; never if absent.
    pub ready_after: Option<TimeDelta>,
    /// From readiness to a crash, after which they neither listen nor come back.
    pub crash_after: Option<TimeDelta>,
    /// From readiness to the moment they stop listening, although they stay ready.
    pub dark_after: Option<TimeDelta>,
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        Behaviour {
            error_rate: 0.0,
            errors_after: TimeDelta::zero(),
            latency: 8.0,
            ready_after: Some(TimeDelta::milliseconds(500)),
            crash_after: None,
            dark_after: None,
        }
    }
}

impl Behaviour {
    /// The behaviour that an image's tag asks for.
    #[must_use]
    pub fn of_image(image: &str) -> Behaviour {
        let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
        let preset = tag.split_once('-').map_or(tag, |(preset, _)| preset);
        let mut behaviour = Behaviour::default();
        match preset {
            // So slow that twenty requests show it: every other one takes less than the shop's bound of 500 ms.
            "slow" => behaviour.latency = 700.0,
            "late" => {
                behaviour.error_rate = 0.6;
                behaviour.errors_after = TimeDelta::seconds(25);
            }
            "crash" => behaviour.crash_after = Some(TimeDelta::seconds(12)),
            "neverready" => behaviour.ready_after = None,
            "dark" => behaviour.dark_after = Some(TimeDelta::seconds(12)),
            _ => {
                // What a call of gRPC ends with is not told apart from a code of HTTP.
                let percent = preset
                    .strip_prefix("errors")
                    .or_else(|| preset.strip_prefix("grpc"));
                if let Some(percent) = percent.and_then(|p| p.parse::<f64>().ok()) {
                    behaviour.error_rate = percent / 100.0;
                }
            }
        }
        behaviour
    }

    /// Whether a release like this is worth promoting, by the shop's checks: 99 % success, p99 of 500 ms.
    #[must_use]
    pub fn good(&self) -> bool {
        self.error_rate < 0.01
            // The p99 of an exponential distribution is 4.6 times its mean.
            && self.latency * 4.6 < 500.0
            && self.ready_after.is_some()
            && self.crash_after.is_none()
            && self.dark_after.is_none()
    }
}

/// Behaviours of images that tags do not describe.
pub type Behaviours = BTreeMap<String, Behaviour>;
