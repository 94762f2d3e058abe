//! Promotions: as objects, and through the hook API as a pipeline uses it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::replicas;
use super::shop::{self, RATE, SOON};
use crate::objects::Kind;
use crate::story::{self, Stage};
use crate::wait;

/// Long enough for a rollout.
const ROLLOUT: Duration = Duration::from_secs(120);
/// Where the hook of this story listens.
const HOOK: &str = "127.0.0.1:18443";

fn promote(name: &str, image: &str) -> Value {
    json!({"apiVersion": "bellwether.dev/v1beta1", "kind": "Promotion", "metadata": {"name": name},
        "spec": {"canaryRef": {"name": "shop"}, "image": image}})
}

fn abort(promotion: &str) -> Value {
    json!({"apiVersion": "bellwether.dev/v1beta1", "kind": "Command", "metadata": {"name": "abort-it"},
        "spec": {"canaryRef": {"name": "shop"}, "verb": "Abort", "promotion": promotion, "requestedBy": "mia"}})
}

async fn wait_result(stage: &Stage, name: &str, result: &str) -> Result<Value> {
    let promotion = stage
        .wait_for(
            Kind::Promotion,
            name,
            "the promotion is over",
            ROLLOUT,
            |promotion| promotion["status"]["finishedAt"].is_string(),
        )
        .await?;
    ensure!(
        promotion["status"]["phase"] == result,
        "{name} is {} and not {result}: {}",
        promotion["status"]["phase"],
        promotion["status"]["message"]
    );
    Ok(promotion)
}

/// A good release is promoted, a bad one rolled back, one is called off; the controller dies in the middle of each.
pub async fn promotion(stage: Arc<Stage>) -> Result<()> {
    shop::under_canary(&stage, &shop::canary()).await?;
    let traffic = stage.traffic(RATE);
    stage.apply(&promote("good", "shop:good-2")).await?;
    shop::wait_weight(&stage, 30).await?;
    stage.kill_controller().await?;
    stage.start_controller().await?;
    wait_result(&stage, "good", "Promoted").await?;
    shop::ensure_on_primary(&stage, "shop:good-2").await?;
    traffic.so_far().ensure_none_failed()?;

    stage.apply(&promote("called-off", "shop:good-3")).await?;
    shop::wait_weight(&stage, 10).await?;
    stage.apply(&abort("called-off")).await?;
    wait_result(&stage, "called-off", "Aborted").await?;
    shop::ensure_on_primary(&stage, "shop:good-2").await?;
    stage
        .wait_for(
            Kind::Command,
            "abort-it",
            "the order is answered",
            SOON,
            |command| command["status"]["outcome"] == "done",
        )
        .await?;
    traffic.so_far().ensure_none_failed()?;

    // The same image once more: what was called off is released again, without a change of the workload.
    stage.apply(&promote("again", "shop:good-3")).await?;
    wait_result(&stage, "again", "Promoted").await?;
    shop::ensure_on_primary(&stage, "shop:good-3").await?;
    traffic.so_far().ensure_none_failed()?;

    stage.apply(&promote("bad", "shop:errors60-1")).await?;
    let bad = wait_result(&stage, "bad", "RolledBack").await?;
    stage.note(bad["status"]["message"].as_str().unwrap_or_default());
    shop::ensure_on_primary(&stage, "shop:good-3").await?;
    traffic.stop().await;
    Ok(())
}

/// What a pipeline does with plain HTTP: starts a promotion, waits by long polls, reads the log as it grows, and gets the
/// verdict; the controller is killed in between. Tokens are the API server's own, and rights are RBAC's.
pub async fn pipeline(stage: Arc<Stage>) -> Result<()> {
    let controller = story::controller(stage.cluster()?, &stage.namespace, &stage.namespace)?
        .args(["--hook-listen", HOOK]);
    shop::open(&stage).await?;
    controller.start().await?;
    stage.apply(&shop::canary()).await?;
    shop::set_up(&stage).await?;
    let traffic = stage.traffic(RATE);
    let ours = token(&stage, "jenkins", "bellwether").await?;
    let foreign = token(&stage, "jenkins", "https://kubernetes.default.svc").await?;
    let pipeline = Pipeline::new(&stage, HOOK, &ours)?;
    let (code, _) = Pipeline::new(&stage, HOOK, &foreign)?
        .start("key", "shop:good-2")
        .await?;
    ensure!(code == 401, "a token for the API server itself gives {code}");
    let (code, answer) = pipeline.start("key", "shop:good-2").await?;
    ensure!(code == 403, "without a role it gives {code}: {answer}");
    grant(&stage, "jenkins").await?;
    // RBAC needs a moment, and a refusal is not remembered.
    let made = wait::until("the pipeline may start a promotion", SOON, async || {
        let (code, answer) = pipeline.start("key", "shop:good-2").await?;
        ensure!(code == 201, "it gives {code}: {answer}");
        Ok(answer)
    })
    .await?;
    let id = made["id"].as_str().context("no id")?;
    let (code, again) = pipeline.start("key", "shop:good-2").await?;
    ensure!(
        code == 200 && again["id"] == id,
        "the same key gives {code}: {again}"
    );
    shop::wait_weight(&stage, 10).await?;
    controller.kill().await?;
    controller.start().await?;
    let (state, log) = pipeline.wait(id).await?;
    ensure!(state["result"] == "Promoted", "it ends with {state}");
    ensure_whole(&stage, id, &log).await?;
    for line in log.lines() {
        stage.note(line);
    }
    traffic.so_far().ensure_none_failed()?;
    let (code, made) = pipeline.start("bad", "shop:errors60-1").await?;
    ensure!(code == 201, "it gives {code}: {made}");
    let (state, _) = pipeline.wait(made["id"].as_str().context("no id")?).await?;
    ensure!(
        state["result"] == "RolledBack" && state["exitCode"] == 3,
        "it ends with {state}"
    );
    traffic.stop().await;
    controller.kill().await
}

/// Lets a service account promote; returns a pipeline with its token at `hook`.
async fn allowed(stage: &Stage, hook: &str) -> Result<Pipeline> {
    let token = token(stage, "jenkins", "bellwether").await?;
    grant(stage, "jenkins").await?;
    Pipeline::new(stage, hook, &token)
}

/// A pipeline waits at the replica that does not decide, through the death of the one that does and a restart of the API
/// server: its verdict comes, and no line of its log is lost or doubled.
pub async fn waiting(stage: Arc<Stage>) -> Result<()> {
    let (one, two) = (
        replicas::replica(&stage, "one")?.args(["--hook-listen", "127.0.0.1:18444"]),
        replicas::replica(&stage, "two")?.args(["--hook-listen", "127.0.0.1:18445"]),
    );
    replicas::nobody_leads(&stage).await?;
    shop::open(&stage).await?;
    one.start().await?;
    let leader = replicas::leader_other_than(&stage, "", SOON).await?;
    two.start().await?;
    replicas::standing_by(&two, 1).await?;
    stage.apply(&shop::canary()).await?;
    shop::set_up(&stage).await?;
    let traffic = stage.traffic(RATE);
    let pipeline = allowed(&stage, "127.0.0.1:18445").await?;
    let made = wait::until("the pipeline may start a promotion", SOON, async || {
        let (code, answer) = pipeline.start("key", "shop:good-2").await?;
        ensure!(code == 201, "it gives {code}: {answer}");
        Ok(answer)
    })
    .await?;
    let id = made["id"].as_str().context("no id")?;
    let faults = async {
        shop::wait_weight(&stage, 10).await?;
        one.kill().await?;
        replicas::leader_other_than(&stage, &leader, SOON).await?;
        stage.restart_api_server().await
    };
    let (waited, faults) = tokio::join!(pipeline.wait(id), faults);
    faults?;
    let (state, log) = waited?;
    ensure!(state["result"] == "Promoted", "it ends with {state}");
    ensure_whole(&stage, id, &log).await?;
    traffic.so_far().ensure_none_failed()?;
    traffic.stop().await;
    two.kill().await
}

/// The Jenkins library on Jenkins' own Groovy, against the hook of a real controller: a good and a bad release.
pub async fn jenkins_library(stage: Arc<Stage>) -> Result<()> {
    const HOOK: &str = "127.0.0.1:18446";
    let controller = story::controller(stage.cluster()?, &stage.namespace, &stage.namespace)?
        .args(["--hook-listen", HOOK]);
    shop::open(&stage).await?;
    controller.start().await?;
    stage.apply(&shop::canary()).await?;
    shop::set_up(&stage).await?;
    let traffic = stage.traffic(RATE);
    let pipeline = allowed(&stage, HOOK).await?;
    let script = stage.cluster()?.layout.repository.join("jenkins/test/run.sh");
    let url = format!("http://{HOOK}");
    let ran = tokio::process::Command::new(script)
        .args([
            "--url",
            &url,
            "--token",
            &pipeline.token,
            "--namespace",
            &stage.namespace,
        ])
        .args([
            "--canary",
            "shop",
            "--image-good",
            "shop:good-2",
            "--image-bad",
            "shop:errors60-1",
        ])
        .kill_on_drop(true)
        .output()
        .await?;
    let said = String::from_utf8_lossy(&ran.stdout);
    ensure!(
        ran.status.success(),
        "the library's tests fail:\n{said}\n{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    for line in said.lines().rev().take(3).collect::<Vec<_>>().into_iter().rev() {
        stage.note(line);
    }
    traffic.stop().await;
    controller.kill().await
}

/// The log that a pipeline read is the one that stands in the Promotion.
async fn ensure_whole(stage: &Stage, id: &str, log: &str) -> Result<()> {
    let status = stage.api(Kind::Promotion).get(id).await?.data["status"].clone();
    let lines = status["log"]["lines"].as_array().context("no log")?;
    let whole: String = lines
        .iter()
        .filter_map(Value::as_str)
        .map(|line| format!("{line}\n"))
        .collect();
    ensure!(
        log == whole,
        "lines are lost or doubled:\n{log}\n--- instead of\n{whole}"
    );
    Ok(())
}

/// A token of a service account for this audience.
pub(super) async fn token(stage: &Stage, account: &str, audience: &str) -> Result<String> {
    let object = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}});
    stage.apply(&object).await?;
    let text = stage
        .kubectl(&["create", "token", account, "--audience", audience])
        .await?;
    Ok(text.trim().to_owned())
}

/// Lets the account start promotions and wait for them.
async fn grant(stage: &Stage, account: &str) -> Result<()> {
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "promoter"},
    "rules": [
        {"apiGroups": ["bellwether.dev"], "resources": ["canaries/promote", "canaries/abort"],
            "resourceNames": ["shop"], "verbs": ["create"]},
        {"apiGroups": ["bellwether.dev"], "resources": ["promotions"], "verbs": ["get"]},
    ]});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "promoter"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "promoter"},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": stage.namespace}]});
    stage.apply(&role).await?;
    stage.apply(&binding).await.map(drop)
}

/// A client of the hook.
struct Pipeline {
    client: reqwest::Client,
    base: String,
    token: String,
}

impl Pipeline {
    fn new(stage: &Stage, hook: &str, token: &str) -> Result<Self> {
        Ok(Self {
            client: reqwest::Client::builder()
                .timeout(Duration::from_secs(30))
                .build()?,
            base: format!("http://{hook}/v1/namespaces/{}", stage.namespace),
            token: token.to_owned(),
        })
    }

    async fn start(&self, key: &str, image: &str) -> Result<(u16, Value)> {
        let answer = self
            .client
            .post(format!("{}/canaries/shop/promotions", self.base))
            .bearer_auth(&self.token)
            .header("Idempotency-Key", key)
            .json(&json!({"image": image, "requester": {"job": "shop/web"}}))
            .send()
            .await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    /// Follows a promotion to its end, through whatever breaks; returns its state and its log.
    async fn wait(&self, id: &str) -> Result<(Value, String)> {
        let (mut seq, mut offset, mut log) = (-1, 0, String::new());
        for _ in 0..400 {
            let Ok((state, part, end)) = self.look(id, seq, offset).await else {
                // The controller is starting: a pipeline comes again.
                wait::until("the hook answers", SOON, async || {
                    self.look(id, -1, 0).await.map(drop)
                })
                .await?;
                continue;
            };
            seq = state["seq"].as_i64().context("no seq")?;
            log.push_str(&part);
            offset = end;
            if state["finished"] == true {
                return Ok((state, log));
            }
        }
        bail!("{id} does not end: {log}")
    }

    async fn look(&self, id: &str, seq: i64, offset: u64) -> Result<(Value, String, u64)> {
        let path = format!("{}/promotions/{id}", self.base);
        let ask = |url: String| self.client.get(url).bearer_auth(&self.token).send();
        let state = ask(format!("{path}?waitSeconds=10&afterSeq={seq}"))
            .await?
            .error_for_status()?;
        let state: Value = state.json().await?;
        let log = ask(format!("{path}/log?start={offset}"))
            .await?
            .error_for_status()?;
        let end = log
            .headers()
            .get("x-text-size")
            .context("no X-Text-Size")?
            .to_str()?
            .parse()?;
        Ok((state, log.text().await?, end))
    }
}
