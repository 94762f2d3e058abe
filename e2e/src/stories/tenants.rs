//! Those who may something, and try more: a requester approves their own release, a key is exchanged, a newer client asks for
//! what this version does not know, and one tenant sends more than its share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use chrono::{DateTime, Utc};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::pipelines;
use super::shop::{self, RATE, SOON};
use crate::issuer::Issuer;
use crate::objects::Kind;
use crate::process::Process;
use crate::story::{self, Stage};
use crate::wait;

/// Long enough for a rollout.
const ROLLOUT: Duration = Duration::from_secs(120);

/// A caller of the hook API, by its own words.
struct Caller {
    client: Client,
    base: String,
    token: String,
}

impl Caller {
    fn new(stage: &Stage, hook: &str, token: impl Into<String>) -> Result<Self> {
        Ok(Self {
            client: Client::builder().timeout(Duration::from_secs(30)).build()?,
            base: format!("http://{hook}/v1/namespaces/{}", stage.namespace),
            token: token.into(),
        })
    }

    async fn get(&self, path: &str) -> Result<(StatusCode, Value)> {
        let request = self.client.get(format!("{}/{path}", self.base));
        let answer = request.bearer_auth(&self.token).send().await?;
        Ok((answer.status(), answer.json().await.unwrap_or_default()))
    }

    async fn post(&self, path: &str, key: Option<&str>, body: &Value) -> Result<(StatusCode, Value)> {
        let mut request = self.client.post(format!("{}/{path}", self.base)).json(body);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let answer = request.bearer_auth(&self.token).send().await?;
        Ok((answer.status(), answer.json().await.unwrap_or_default()))
    }

    /// Gives an order and returns what became of it.
    async fn order(&self, path: &str, body: &Value) -> Result<String> {
        let (status, answer) = self.post(path, None, body).await?;
        ensure!(status == StatusCode::ACCEPTED, "{path} gives {status}: {answer}");
        let order = answer["links"]["order"].as_str().context("no link")?;
        let order = order.rsplit('/').take(2).collect::<Vec<_>>();
        let [name, kind] = order.as_slice() else {
            bail!("{answer}");
        };
        let order = wait::until("the order is answered", SOON, async || {
            let (_, order) = self.get(&format!("{kind}/{name}?waitSeconds=5")).await?;
            ensure!(order["outcome"].is_string(), "{order}");
            Ok(order)
        })
        .await?;
        Ok(order["outcome"].as_str().unwrap_or_default().to_owned())
    }
}

/// Rights of a role of this name for `subjects`.
async fn bind(stage: &Stage, name: &str, rules: Value, subject: Value) -> Result<()> {
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name}, "rules": rules});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}, "subjects": [subject]});
    stage.apply(&role).await?;
    stage.apply(&binding).await.map(drop)
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": name})
}

/// Every right about one Canary.
fn all_about(canary: &str) -> Value {
    let orders = ["promote", "abort", "retry", "approve", "undo"].map(|order| format!("canaries/{order}"));
    json!([
        {"apiGroups": ["bellwether.dev"], "resources": orders, "resourceNames": [canary], "verbs": ["create"]},
        {"apiGroups": ["bellwether.dev"], "resources": ["canaries", "promotions", "commands", "approvals"], "verbs": ["get"]},
    ])
}

/// A controller whose hook API knows the tokens of an issuer.
async fn with_issuer(stage: &Stage, hook: &str, issuer: &Issuer, more: &[&str]) -> Result<Process> {
    let file = stage
        .cluster()?
        .layout
        .logs
        .join(format!("issuers-{}.yaml", stage.namespace));
    let known = json!([{"name": "ci", "issuer": issuer.url(), "audience": "bellwether"}]);
    std::fs::write(&file, known.to_string())?;
    let controller = story::controller(stage.cluster()?, &stage.namespace, &stage.namespace)?
        .args([
            "--hook-listen",
            hook,
            "--hook-oidc-file",
            &file.display().to_string(),
        ])
        .args(more.iter().copied());
    controller.start().await?;
    Ok(controller)
}

/// Whoever asked for a release cannot approve it: they let its Promotion expire, order a retry, and come by the name that the
/// cluster has for them.
pub async fn own_release(stage: Arc<Stage>) -> Result<()> {
    const HOOK: &str = "127.0.0.1:18447";
    let issuer = Issuer::serve("127.0.0.1:18457").await?;
    let aliases = stage.cluster()?.layout.logs.join("aliases.yaml");
    std::fs::write(
        &aliases,
        json!([{"user": "ci:desk/mia", "aliases": ["mia"]}]).to_string(),
    )?;
    shop::open(&stage).await?;
    let aliases = aliases.display().to_string();
    let controller = with_issuer(&stage, HOOK, &issuer, &["--user-aliases-file", &aliases]).await?;
    let gates =
        json!([{"name": "acceptance", "at": "confirm-promotion", "approval": {"notByRequester": true}}]);
    stage
        .apply(&shop::canary_with(|spec| spec["analysis"]["gates"] = gates))
        .await?;
    shop::set_up(&stage).await?;
    let traffic = stage.traffic(RATE);
    for name in ["shop/web", "desk/mia", "desk/bob"] {
        let role = name.replace('/', "-");
        bind(&stage, &role, all_about("shop"), user(&format!("ci:{name}"))).await?;
    }
    let caller = |name: &str| {
        let token = issuer.token(name, 3600, &json!({}))?;
        Caller::new(&stage, HOOK, token)
    };
    let (build, mia, bob) = (caller("shop/web")?, caller("desk/mia")?, caller("desk/bob")?);
    let body = json!({"image": "shop:good-2", "requester": {"user": "mia"}, "policy": {"ttlSeconds": 0}});
    let made = wait::until("the build may start a promotion", SOON, async || {
        let (status, made) = build
            .post("canaries/shop/promotions", Some("build-1"), &body)
            .await?;
        ensure!(status == StatusCode::CREATED, "it gives {status}: {made}");
        Ok(made)
    })
    .await?;
    let id = made["id"].as_str().context("no id")?;
    shop::wait_weight(&stage, 10).await?;
    let outcome = build
        .order(
            &format!("promotions/{id}/abort"),
            &json!({"reason": "a\u{1b}[2J\nb"}),
        )
        .await?;
    ensure!(outcome == "done", "the abort is {outcome}");
    stage.wait_gone(Kind::Promotion, id, ROLLOUT).await?;
    let failed = shop::wait_phase(&stage, "Failed", ROLLOUT).await?;
    let told = failed["status"].to_string();
    ensure!(
        !told.contains("\\u001b") && told.contains("[2J b"),
        "what was typed is not cleaned: {told}"
    );
    // The key starts nothing any more.
    let (status, expired) = build
        .post("canaries/shop/promotions", Some("build-1"), &body)
        .await?;
    ensure!(
        status == StatusCode::GONE && expired["result"] == "Aborted" && expired["exitCode"] == 5,
        "the key of a forgotten promotion gives {status}: {expired}"
    );
    let revision = failed["status"]["revision"]["current"].clone();
    let outcome = mia
        .order("canaries/shop/retry", &json!({"revision": revision}))
        .await?;
    ensure!(outcome == "done", "the retry is {outcome}");
    shop::wait_phase(&stage, "WaitingPromotion", ROLLOUT).await?;
    controller.kill().await?;
    controller.start().await?;
    wait::until("the hook answers again", SOON, async || {
        let (status, answer) = mia.get("canaries/shop").await?;
        ensure!(status == StatusCode::OK, "it gives {status}: {answer}");
        Ok(())
    })
    .await?;
    let approval = json!({"gate": "acceptance", "revision": revision});
    for (who, by) in [("the build", &build), ("mia, by her name in the cluster", &mia)] {
        let outcome = by.order("canaries/shop/approve", &approval).await?;
        ensure!(
            outcome.contains("asked for this release"),
            "{who} approves: {outcome}"
        );
        stage.note(format!("{who}: {outcome}"));
    }
    let outcome = bob.order("canaries/shop/approve", &approval).await?;
    ensure!(outcome == "done", "bob's approval is {outcome}");
    shop::wait_phase(&stage, "Succeeded", ROLLOUT).await?;
    traffic.so_far().ensure_none_failed()?;
    traffic.stop().await;
    controller.kill().await
}

/// An issuer exchanges its key and keeps its name, while builds whose tokens live a few seconds wait: the command line with a
/// token command sees its verdict, and nobody is locked out for longer than the pause between fetches.
pub async fn key_rotation(stage: Arc<Stage>) -> Result<()> {
    const HOOK: &str = "127.0.0.1:18448";
    let issuer = Arc::new(Issuer::serve("127.0.0.1:18458").await?);
    shop::open(&stage).await?;
    let controller = with_issuer(&stage, HOOK, &issuer, &[]).await?;
    stage.apply(&shop::canary()).await?;
    shop::set_up(&stage).await?;
    let traffic = stage.traffic(RATE);
    bind(&stage, "web", all_about("shop"), user("ci:shop/web")).await?;
    // As a runner's own endpoint mints them: the file always has one that is good for a while yet.
    let file = stage.cluster()?.layout.logs.join("minted");
    let mint = |seconds: i64| -> Result<()> {
        let whole = file.with_extension("new");
        std::fs::write(
            &whole,
            issuer.token("shop/web", seconds, &json!({"jti": Utc::now().to_rfc3339()}))?,
        )?;
        Ok(std::fs::rename(whole, &file)?)
    };
    mint(3600)?;
    let client = Caller::new(&stage, HOOK, std::fs::read_to_string(&file)?)?;
    wait::until("the build may start a promotion", SOON, async || {
        let (status, answer) = client.get("canaries/shop").await?;
        ensure!(status == StatusCode::OK, "it gives {status}: {answer}");
        Ok(())
    })
    .await?;
    let bellwether = story::program()?;
    let promoting = tokio::process::Command::new(bellwether)
        .args([
            "promote",
            "shop",
            "--image",
            "shop:good-2",
            "--wait",
            "--namespace",
            &stage.namespace,
        ])
        .args(["--hook", &format!("http://{HOOK}")])
        .args(["--token-command", &format!("cat {}", file.display())])
        .env_remove("KUBECONFIG")
        .kill_on_drop(true)
        .output();
    let rotating = async {
        let mut locked_out = Duration::ZERO;
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_secs(3)).await;
            issuer.rotate()?;
            let from = Instant::now();
            mint(5)?;
            let token = std::fs::read_to_string(&file)?;
            let fresh = Caller::new(&stage, HOOK, token)?;
            wait::until("a token of the new key is accepted", SOON, async || {
                // Its life is short: another of the same key.
                mint(5)?;
                let fresh = Caller {
                    token: std::fs::read_to_string(&file)?,
                    ..Caller::new(&stage, HOOK, "")?
                };
                let (status, answer) = fresh.get("canaries/shop").await?;
                ensure!(
                    status != StatusCode::UNAUTHORIZED || from.elapsed() > SOON,
                    "refused for good: {answer}"
                );
                ensure!(status == StatusCode::OK, "it gives {status}: {answer}");
                Ok(())
            })
            .await?;
            drop(fresh);
            locked_out = locked_out.max(from.elapsed());
        }
        // To the end of the release there is always a token that is good for a while.
        for _ in 0..60 {
            mint(5)?;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok::<_, anyhow::Error>(locked_out)
    };
    let mut rotating = Box::pin(rotating);
    let mut longest = None;
    let mut promoting = Box::pin(promoting);
    let ran = loop {
        tokio::select! {
            ran = &mut promoting => break ran?,
            rotated = &mut rotating, if longest.is_none() => longest = Some(rotated?),
        }
    };
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    ensure!(
        ran.status.success(),
        "the command ends with {}: {said}",
        ran.status
    );
    let longest = match longest {
        Some(longest) => longest,
        None => rotating.await?,
    };
    stage.note(format!(
        "four new keys under one name; a new token was accepted after {:.1} s at most",
        longest.as_secs_f64()
    ));
    ensure!(longest < Duration::from_secs(15), "locked out for {longest:?}");
    traffic.so_far().ensure_none_failed()?;
    traffic.stop().await;
    controller.kill().await
}

/// A CRD of a newer version has a field that this controller does not know: an order and a Promotion with it are refused by name.
pub async fn unknown_field(stage: Arc<Stage>) -> Result<()> {
    shop::under_canary(&stage, &shop::canary()).await?;
    let traffic = stage.traffic(RATE);
    // What a person types by kubectl is no escape sequence either.
    let typed = json!({"apiVersion": "bellwether.dev/v1beta1", "kind": "Command", "metadata": {"name": "typed"},
        "spec": {"canaryRef": {"name": "shop"}, "verb": "Pause", "revision": "0123456789abcdef",
            "requestedBy": "mia", "reason": "red \u{1b}[31m"}});
    let refused = stage
        .apply(&typed)
        .await
        .err()
        .context("an escape sequence is taken")?;
    ensure!(
        format!("{refused:#}").contains("spec.reason"),
        "it is refused otherwise: {refused:#}"
    );
    for crd in ["commands", "promotions"] {
        let field = json!([{"op": "add",
            "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/urgency",
            "value": {"type": "string"}}]);
        let name = format!("{crd}.bellwether.dev");
        stage
            .kubectl(&["patch", "crd", &name, "--type", "json", "-p", &field.to_string()])
            .await?;
    }
    let order = json!({"apiVersion": "bellwether.dev/v1beta1", "kind": "Command",
        "metadata": {"name": "newer", "namespace": stage.namespace},
        "spec": {"canaryRef": {"name": "shop"}, "verb": "Pause", "revision": "0123456789abcdef",
            "requestedBy": "mia", "urgency": "high"}});
    let promotion = json!({"apiVersion": "bellwether.dev/v1beta1", "kind": "Promotion",
        "metadata": {"name": "newer", "namespace": stage.namespace},
        "spec": {"canaryRef": {"name": "shop"}, "image": "shop:good-2", "urgency": "high"}});
    let file = stage.cluster()?.layout.logs.join("newer.json");
    for object in [&order, &promotion] {
        std::fs::write(&file, object.to_string())?;
        let path = file.display().to_string();
        // Until it is served the API server drops the field, and the object is another one.
        wait::until("the field is served", SOON, async || {
            let made = stage
                .kubectl(&["create", "--dry-run=server", "--output", "json", "-f", &path])
                .await?;
            ensure!(made.contains("urgency"), "{made}");
            Ok(())
        })
        .await?;
    }
    // A watch that began before is served with the fields of that time.
    stage.kill_controller().await?;
    stage.start_controller().await?;
    stage.apply(&order).await?;
    let order = stage
        .wait_for(Kind::Command, "newer", "the order is answered", SOON, |order| {
            order["status"]["outcome"].is_string()
        })
        .await?;
    let outcome = order["status"]["outcome"].as_str().unwrap_or_default();
    ensure!(
        outcome.starts_with("refused: spec") && outcome.contains("urgency"),
        "{outcome}"
    );
    stage.note(outcome);
    stage.apply(&promotion).await?;
    let promotion = stage
        .wait_for(
            Kind::Promotion,
            "newer",
            "the promotion is answered",
            SOON,
            |promotion| promotion["status"]["finishedAt"].is_string(),
        )
        .await?;
    let message = promotion["status"]["message"].as_str().unwrap_or_default();
    ensure!(
        promotion["status"]["phase"] == "Failed" && message.contains("urgency"),
        "{}",
        promotion["status"]
    );
    for crd in ["commands", "promotions"] {
        let field = json!([{"op": "remove",
            "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/urgency"}]);
        let name = format!("{crd}.bellwether.dev");
        stage
            .kubectl(&["patch", "crd", &name, "--type", "json", "-p", &field.to_string()])
            .await?;
    }
    traffic.so_far().ensure_none_failed()?;
    traffic.stop().await;
    Ok(())
}

/// Requests a second that one tenant sends.
const FLOOD: u32 = 200;
/// By how much a flood may delay the write that takes traffic from a bad release.
const DELAY: Duration = Duration::from_millis(100);

/// One tenant floods the hook API while the bad releases of another are judged: how long after the sample that condemns it
/// the traffic is taken back, with and without.
pub async fn flood(stage: Arc<Stage>) -> Result<()> {
    const HOOK: &str = "127.0.0.1:18449";
    let controller = story::controller(stage.cluster()?, &stage.namespace, &stage.namespace)?
        .args(["--hook-listen", HOOK]);
    shop::open(&stage).await?;
    // The tenant's own Canary, of a workload without callers.
    stage.apply(&stage.deployment("other", "shop:good-1", 1)).await?;
    stage.apply(&stage.service("other")).await?;
    controller.start().await?;
    stage.apply(&shop::canary()).await?;
    let mut other = shop::canary();
    other["metadata"]["name"] = json!("other");
    other["spec"]["targetRef"]["name"] = json!("other");
    stage.apply(&other).await?;
    shop::set_up(&stage).await?;
    let traffic = stage.traffic(RATE);
    let token = pipelines::token(&stage, "tenant", "bellwether").await?;
    let account = json!({"kind": "ServiceAccount", "name": "tenant", "namespace": stage.namespace});
    bind(&stage, "tenant", all_about("other"), account).await?;
    let tenant = Arc::new(Caller::new(&stage, HOOK, token)?);
    wait::until("the tenant may read", SOON, async || {
        let (status, answer) = tenant.get("canaries/other").await?;
        ensure!(status == StatusCode::OK, "it gives {status}: {answer}");
        Ok(())
    })
    .await?;
    let (status, answer) = tenant.get("canaries/shop").await?;
    ensure!(
        status == StatusCode::OK,
        "it may read the Canaries of its namespace: {status} {answer}"
    );
    let mut calm = Vec::new();
    let mut flooded = Vec::new();
    for round in 0..3 {
        calm.push(taken_back(&stage, &format!("shop:errors60-{round}0")).await?);
        let answers = Arc::new(Answers::default());
        let sending = tokio::spawn(send(tenant.clone(), answers.clone()));
        let delay = taken_back(&stage, &format!("shop:errors60-{round}1")).await;
        sending.abort();
        flooded.push(delay?);
        stage.note(format!("flood {round}: {answers:?}"));
        ensure!(
            answers.sent.load(Ordering::Relaxed) > 1000,
            "that was no flood: {answers:?}"
        );
    }
    let (calm, flooded) = (median(&mut calm), median(&mut flooded));
    stage.note(format!(
        "traffic taken back after the sample: {} ms at rest, {} ms under {FLOOD} requests/s of another tenant",
        calm.as_millis(),
        flooded.as_millis()
    ));
    ensure!(
        flooded <= calm + DELAY,
        "the flood delays the write by {:?}",
        flooded.saturating_sub(calm)
    );
    traffic.stop().await;
    controller.kill().await
}

/// How the flood was answered.
#[derive(Debug, Default)]
struct Answers {
    sent: AtomicUsize,
    taken: AtomicUsize,
    limited: AtomicUsize,
    failed: AtomicUsize,
}

/// Sends reads, starts and orders in turn, each without waiting for the one before.
async fn send(tenant: Arc<Caller>, answers: Arc<Answers>) {
    let mut pace = interval(Duration::from_secs(1) / FLOOD);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for n in 0_u64.. {
        pace.tick().await;
        let (tenant, answers) = (tenant.clone(), answers.clone());
        let _request = tokio::spawn(async move {
            answers.sent.fetch_add(1, Ordering::Relaxed);
            let key = format!("flood-{}-{n}", Utc::now().timestamp_micros());
            let answer = match n % 4 {
                0 => tenant.get("canaries/other").await,
                1 => {
                    let body = json!({"image": "shop:good-2", "policy": {"conflict": "queue"}});
                    tenant.post("canaries/other/promotions", Some(&key), &body).await
                }
                2 => {
                    let body = json!({"revision": "0123456789abcdef"});
                    tenant.post("canaries/other/retry", None, &body).await
                }
                _ => tenant.get(&format!("promotions/p-{n}?waitSeconds=20")).await,
            };
            let count = match answer {
                Ok((StatusCode::TOO_MANY_REQUESTS, _)) => &answers.limited,
                Ok((status, _)) if !status.is_server_error() => &answers.taken,
                _ => &answers.failed,
            };
            count.fetch_add(1, Ordering::Relaxed);
        });
    }
}

/// Ships a bad image; from the instant of the sample that condemns it to the one at which its traffic is taken back.
async fn taken_back(stage: &Stage, image: &str) -> Result<Duration> {
    fn share(routes: &Value) -> i64 {
        let shares = routes["spec"]["http"][0]["route"].as_array();
        let canary = |share: &&Value| share["destination"]["host"] == "shop-canary";
        let found = shares.and_then(|shares| shares.iter().find(canary));
        found.and_then(|share| share["weight"].as_i64()).unwrap_or(0)
    }
    shop::ship(stage, image).await?;
    let routes = async |what: &str, met: fn(i64) -> bool| {
        let met = |routes: &Value| met(share(routes));
        stage
            .wait_for(Kind::VirtualService, "shop", what, ROLLOUT, met)
            .await
    };
    routes("the canary gets traffic", |share| share > 0).await?;
    let lowered = async {
        routes("the traffic is taken back", |share| share == 0).await?;
        Ok::<_, anyhow::Error>(Utc::now())
    };
    // What condemned it stands in the first status that says so; later ones have later values.
    let withdrawn = shop::wait_status(stage, "the release is withdrawn", ROLLOUT, |status| {
        status["retirement"].is_object()
    });
    let (at, canary) = tokio::try_join!(lowered, withdrawn)?;
    shop::wait_phase(stage, "Failed", ROLLOUT).await?;
    let checks = canary["status"]["checks"].as_array().context("no checks")?;
    let condemned = checks
        .iter()
        .find(|check| check["outcome"] == "Bad")
        .context("no check failed")?;
    let sampled: DateTime<Utc> = condemned["at"].as_str().context("no time")?.parse()?;
    Ok((at - sampled).to_std().unwrap_or_default())
}

fn median(all: &mut [Duration]) -> Duration {
    all.sort();
    all.get(all.len() / 2).copied().unwrap_or_default()
}
