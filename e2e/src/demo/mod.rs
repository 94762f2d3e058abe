//! The demo: a good and a bad release of `examples/`, as a person would watch them.

mod timeline;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use bellwether::paint::Paint;

use self::timeline::{Row, Side};
use crate::cluster::Cluster;
use crate::namespace::Inside;
use crate::objects::Kind;
use crate::story::{Scrapes, Stage};
use crate::traffic::{Stats, Traffic};
use crate::wait;

/// The host of `examples/shop.yaml`.
const HOST: &str = "shop.example.com";
const RATE: u32 = 200;
/// How often the timeline gets a line.
const BEAT: Duration = Duration::from_secs(2);
/// An act that takes longer has gone wrong.
const PATIENCE: Duration = Duration::from_mins(3);

/// Shows both releases; success means that the good one was promoted and the bad one rolled back.
pub async fn show(inside: &Inside) -> Result<ExitCode> {
    tokio::select! {
        code = play(inside) => code,
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::from(130)),
    }
}

async fn play(inside: &Inside) -> Result<ExitCode> {
    println!("starting Kubernetes, Istio, Envoy and Prometheus …");
    let cluster = Arc::new(Cluster::start(inside).await?);
    let stage = Stage::set(cluster, "demo", Scrapes::Often).await?;
    let show = Show {
        paint: Paint::for_stdout(),
        stage,
    };
    let passed = show.releases().await;
    show.stage.kill_controller().await?;
    Ok(if passed? {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

struct Show {
    paint: Paint,
    stage: Stage,
}

/// What an act came to.
struct Ending {
    phase: String,
    took: Duration,
    weights: Vec<i64>,
    stats: Stats,
}

impl Show {
    async fn releases(&self) -> Result<bool> {
        self.title(
            "A shop, as a team has it: a Deployment, a Service, a VirtualService. Beside it, a Canary.",
        );
        self.apply_examples().await?;
        let traffic = Traffic::through_gateway(HOST, RATE);
        self.stage.start_controller().await?;
        let ready = self.watch(&traffic, &["Initialized"]).await?;
        self.summary(&ready);

        self.title("A good release.");
        self.ship("1.1.0").await?;
        let good = self.watch(&traffic, &["Succeeded", "Failed"]).await?;
        self.summary(&good);

        self.title("A bad one: five of a hundred requests fail. (Pods are simulated here; the tag says how they behave.)");
        self.ship("errors5-1.2.0").await?;
        let bad = self.watch(&traffic, &["Succeeded", "Failed"]).await?;
        self.summary(&bad);

        let passed = good.phase == "Succeeded" && bad.phase == "Failed";
        let total = traffic.stop().await;
        println!();
        println!("{}", self.paint.bold(&format!("Users saw {total}.")));
        let (ours, theirs): (Vec<_>, Vec<_>) = total.failures.iter().partition(|(kind, _)| *kind != "500");
        let sum = |kinds: &[(&String, &usize)]| kinds.iter().map(|(_, count)| **count).sum::<usize>();
        println!(
            "Of the failures {} were the bad release's own answers, {} came from anything else.",
            sum(&theirs),
            sum(&ours)
        );
        println!("Next: README.md, A first Canary; `make test` plays every fault we know of.");
        Ok(passed)
    }

    fn title(&self, text: &str) {
        println!();
        println!("{}", self.paint.bold(text));
    }

    fn command(&self, line: &str) {
        println!("{}", self.paint.dim(&format!("$ kubectl {line}")));
    }

    async fn apply_examples(&self) -> Result<()> {
        let examples = self.stage.cluster()?.layout.repository.join("examples");
        self.command("apply --filename examples/");
        let examples = examples.display().to_string();
        self.stage.kubectl(&["apply", "--filename", &examples]).await?;
        let metrics = json!([
            {"name": "request-success-rate", "interval": "5s", "thresholdRange": {"min": 99}},
            {"name": "request-duration", "interval": "5s", "thresholdRange": {"max": 500}},
        ]);
        let fast = json!({"spec": {"analysis": {"interval": "5s", "threshold": 2, "metrics": metrics}}});
        println!(
            "(For the demo intervals are 5 s instead of 1 m, and two failed checks instead of five are enough.)"
        );
        let patch = fast.to_string();
        self.stage
            .kubectl(&["patch", "canary", "shop", "--type", "merge", "--patch", &patch])
            .await?;
        self.stage.wait_pods("shop", 2, PATIENCE).await?;
        wait::until("the shop answers", PATIENCE, async || {
            let traffic = Traffic::through_gateway(HOST, 100);
            traffic.requests(20).await?;
            traffic.stop().await.ensure_none_failed()
        })
        .await
    }

    async fn ship(&self, tag: &str) -> Result<()> {
        let image = format!("app=registry.example.com/shop:{tag}");
        self.command(&format!("set image deployment/shop {image}"));
        self.stage
            .kubectl(&["set", "image", "deployment/shop", &image])
            .await
            .map(drop)
    }

    /// Draws the timeline until the Canary, seen at work first, is in one of these phases.
    async fn watch(&self, traffic: &Traffic, until: &[&str]) -> Result<Ending> {
        for line in timeline::header() {
            println!("{}", self.paint.dim(&line));
        }
        let started = Instant::now();
        let (mut weights, mut said, mut at_work) = (Vec::new(), String::new(), false);
        let mut beat = interval(BEAT / 10);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut drawn, mut last) = (started, started);
        loop {
            beat.tick().await;
            let canary = self.stage.api(Kind::Canary).get("shop").await?.data;
            let status = &canary["status"];
            let text = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
            let (phase, message) = (text("phase"), text("message"));
            let weight = status["canaryWeight"].as_i64().unwrap_or_default();
            let ended = at_work && until.contains(&phase.as_str());
            if said.is_empty() && matches!(phase.as_str(), "Initialized" | "Succeeded") {
                // What was said before this act.
                said.clone_from(&message);
            }
            at_work |= !matches!(phase.as_str(), "Initialized" | "Succeeded" | "Failed");
            if weights.last() != Some(&weight) {
                weights.push(weight);
            }
            if message != said {
                println!(
                    "{}",
                    self.paint.dim(&timeline::remark(started.elapsed(), &message))
                );
                said.clone_from(&message);
            }
            if drawn.elapsed() >= BEAT || ended {
                let now = Instant::now();
                let row = Row {
                    at: started.elapsed(),
                    phase: phase.clone(),
                    weight,
                    share: traffic.between(last, now).share("shop"),
                    primary: Side::of(&traffic.answered_by("shop-primary", last, now)),
                    canary: Side::of(&traffic.answered_by("shop", last, now)),
                };
                println!("{}", row.line(self.paint));
                (drawn, last) = (now, now);
            }
            if ended {
                let (took, stats) = (started.elapsed(), traffic.since(started));
                return Ok(Ending {
                    phase,
                    took,
                    weights,
                    stats,
                });
            }
            if started.elapsed() > PATIENCE {
                bail!(
                    "still {phase} after {PATIENCE:?}: {message}\n{}",
                    status_text(status)
                );
            }
        }
    }

    fn summary(&self, ending: &Ending) {
        let verdict = match ending.phase.as_str() {
            "Failed" => self.paint.judged(false, "rolled back"),
            "Succeeded" => self.paint.judged(true, "promoted"),
            other => self.paint.judged(true, &other.to_lowercase()),
        };
        let path: Vec<String> = ending.weights.iter().map(i64::to_string).collect();
        println!(
            "{verdict} after {:.0} s; weights {}; {} requests, {} failed",
            ending.took.as_secs_f64(),
            path.join(" → "),
            ending.stats.requests,
            ending.stats.failed()
        );
    }
}

fn status_text(status: &Value) -> String {
    serde_json::to_string_pretty(status).unwrap_or_default()
}
