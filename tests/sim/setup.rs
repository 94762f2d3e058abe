//! What one Canary of a play is like.

use bellwether::sim::api_server::{Key, Kind};
use chrono::TimeDelta;
use serde_json::{Value, json};

/// Name of everything; Canaries of a play are told apart by their namespace.
pub const SHOP: &str = "shop";
/// Name of its primary.
pub const PRIMARY: &str = "shop-primary";

/// Points at which releases wait.
const GATES: [&[&str]; 10] = [
    &[],
    &[],
    &[],
    &[],
    &[],
    &[],
    &["confirm-rollout"],
    &["pre-rollout"],
    &["confirm-promotion"],
    &["confirm-rollout", "confirm-promotion"],
];

/// Surge, and how many may be unavailable, while pods are exchanged; the server's defaults first.
const LEEWAYS: [(&str, &str); 6] = [
    ("25%", "25%"),
    ("25%", "25%"),
    ("1", "0"),
    ("0", "1"),
    ("100%", "0"),
    ("0", "50%"),
];

fn int_or_percent(text: &str) -> Value {
    text.parse::<i64>()
        .map_or_else(|_| json!(text), |number| json!(number))
}

/// One Canary, its workload and its callers.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Seconds of a step.
    pub interval: i64,
    /// Seconds of a metric's window.
    pub window: i64,
    /// Weights of the steps.
    pub steps: Vec<i64>,
    /// Failed checks at which it is rolled back.
    pub threshold: i64,
    /// Seconds until pods must be ready.
    pub deadline: i64,
    /// Seconds without metrics until a retreat.
    pub max_blind: i64,
    /// Percent by which traffic returns; 0: at once.
    pub promotion_step: i64,
    /// Whether the workload's pods all go before new ones come.
    pub recreate: bool,
    /// How many pods there may be too many, and too few, while they are exchanged.
    pub leeway: (&'static str, &'static str),
    /// How many old ReplicaSets are kept; the server's default if absent.
    pub history: Option<u32>,
    /// Seconds between two scrapes.
    pub scrapes: i64,
    /// Whether the VirtualService was there before.
    pub adopted: bool,
    /// Whether all that the Canary changed goes back when it is deleted.
    pub reverts: bool,
    /// Pods.
    pub replicas: u32,
    /// Requests a second.
    pub rate: f64,
    /// Points at which releases wait for approvals, and for how many seconds at most.
    pub gates: (&'static [&'static str], i64),
}

impl Setup {
    /// One by chance.
    pub fn draw(rng: &mut fastrand::Rng) -> Setup {
        let steps: &[&[i64]] = &[&[10, 30, 50], &[50], &[5, 20, 60, 100], &[20, 40]];
        Setup {
            interval: rng.i64(4..12),
            // Most look back a step or less; some keep what was before it in sight for long.
            window: if rng.u8(..8) == 0 {
                rng.i64(15..30)
            } else {
                rng.i64(5..9)
            },
            steps: steps[rng.usize(..steps.len())].to_vec(),
            threshold: rng.i64(1..4),
            deadline: rng.i64(20..60),
            max_blind: rng.i64(20..60),
            promotion_step: [0, 0, 0, 25][rng.usize(..4)],
            recreate: rng.u8(..8) == 0,
            leeway: LEEWAYS[0],
            history: None,
            scrapes: 2,
            adopted: rng.u8(..4) != 0,
            replicas: rng.u32(1..4),
            rate: [20.0, 30.0, 60.0][rng.usize(..3)],
            gates: (GATES[rng.usize(..GATES.len())], rng.i64(20..60)),
            reverts: rng.u8(..3) == 0,
        }
    }

    /// Makes it less ordinary by chance.
    pub fn vary(&mut self, rng: &mut fastrand::Rng) {
        self.leeway = LEEWAYS[rng.usize(..LEEWAYS.len())];
        self.history = [None, None, None, Some(0), Some(1)][rng.usize(..5)];
        if rng.u8(..4) == 0 || self.lacks_surge() {
            self.replicas = rng.u32(2..7);
        }
    }

    /// Whether a pod goes before the next one comes.
    pub fn lacks_surge(&self) -> bool {
        self.leeway.0 == "0"
    }

    /// Whatever happened: how long it may take to come to rest once nothing goes wrong any more.
    pub fn bound(&self) -> TimeDelta {
        // A sample every second at least, a scrape every two or more, ten to see a fenced template, the pauses of a round.
        let grace = 30 + 10 + 2 * self.window + 4 * (self.scrapes - 2);
        let steps = i64::try_from(self.steps.len()).unwrap_or(1);
        let checks = steps + self.threshold;
        let step = self.interval + grace;
        // Three retreats, each with a pause that doubles, and the step again.
        let retreats = (1 + 2 + 4) * self.interval + 3 * step;
        let back = if self.promotion_step > 0 {
            4 * self.interval
        } else {
            0
        };
        // Set-up, analysis, promotion, undo: each may wait for pods as long as it may; silence may take `maxBlind`.
        let seconds = 4 * self.deadline + checks * step + retreats + back + 3 * self.max_blind + 120;
        // Hand-overs that are looked at for a minute each, and a robot or people whose edits are put right once a minute.
        let seconds = seconds + 4 * 60;
        // A gate may stay closed for as long as it may, at each of its three points.
        let seconds = seconds + 3 * self.gates.1;
        TimeDelta::seconds(seconds)
    }

    pub fn deployment(&self, image: &str) -> Value {
        let (surge, unavailable) = self.leeway;
        let strategy = if self.recreate {
            json!({"type": "Recreate"})
        } else {
            let bounds =
                json!({"maxSurge": int_or_percent(surge), "maxUnavailable": int_or_percent(unavailable)});
            json!({"type": "RollingUpdate", "rollingUpdate": bounds})
        };
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": SHOP}, "spec": {
            "replicas": self.replicas,
            "strategy": strategy,
            "revisionHistoryLimit": self.history,
            "selector": {"matchLabels": {"app": SHOP}},
            "template": {
                "metadata": {"labels": {"app": SHOP}},
                "spec": {"containers": [{
                    "name": "app", "image": image, "ports": [{"name": "http", "containerPort": 8080}],
                }]},
            },
        }})
    }

    pub fn service() -> Value {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": SHOP}, "spec": {
            "selector": {"app": SHOP}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        }})
    }

    pub fn routes() -> Value {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": SHOP, "labels": {"team": "shopping"}, "annotations": {"note": "by hand"}},
            "spec": {
                "hosts": ["shop.example.com"], "gateways": ["gateway"],
                "http": [{"name": "main", "timeout": "9s", "route": [{"destination": {"host": SHOP}}]}],
            },
        })
    }

    fn gates(&self) -> Vec<Value> {
        let (points, seconds) = self.gates;
        let approval = json!({"notByRequester": seconds % 2 == 0});
        let gate = |point: &&str| json!({"name": point, "at": point, "approval": approval, "timeout": format!("{seconds}s")});
        points.iter().map(gate).collect()
    }

    pub fn canary(&self) -> Value {
        let window = format!("{}s", self.window);
        let mut service = json!({"port": 80, "targetPort": "http"});
        if !self.adopted {
            service["hosts"] = json!(["shop.example.com"]);
            service["gateways"] = json!(["gateway"]);
        }
        json!({"apiVersion": "bellwether.dev/v1beta1", "kind": "Canary", "metadata": {"name": SHOP}, "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": SHOP},
            "progressDeadlineSeconds": self.deadline,
            "revertOnDeletion": self.reverts,
            "service": service,
            "analysis": {
                "interval": format!("{}s", self.interval),
                "threshold": self.threshold,
                "stepWeights": self.steps,
                "stepWeightPromotion": self.promotion_step,
                "maxBlind": format!("{}s", self.max_blind),
                "metrics": [
                    {"name": "request-success-rate", "interval": window, "thresholdRange": {"min": 90}},
                    {"name": "request-duration", "interval": window, "thresholdRange": {"max": 500}},
                ],
                "gates": self.gates(),
            },
        }})
    }
}

/// Namespace of the `n`-th Canary.
pub fn namespace(n: usize) -> String {
    format!("team-{n}")
}

/// The object of this kind that bears the shop's name.
pub fn key(n: usize, kind: Kind) -> Key {
    Key::new(kind, &namespace(n), SHOP)
}

/// The primary.
pub fn primary(n: usize) -> Key {
    Key::new(Kind::DEPLOYMENT, &namespace(n), PRIMARY)
}
