//! The hook API as backend, for whoever has no access to the cluster.

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::Args;
use reqwest::header::HeaderName;
use serde_json::{Value, json};

use super::{
    Ordered, PACE, StartRequest, State,
    client::{Answer, Call, Client, rest},
    token::Token,
};
use crate::{
    api::Verb,
    cli::{
        env,
        exit::{Exit, Failure},
    },
    printable::printable,
};

/// What the environment says. Read by hand: a kubeconfig on the command line goes before it.
const URL: &str = "BELLWETHER_URL";
const TOKEN: &str = "BELLWETHER_TOKEN";
const TOKEN_FILE: &str = "BELLWETHER_TOKEN_FILE";
const TOKEN_COMMAND: &str = "BELLWETHER_TOKEN_COMMAND";
const CA_FILE: &str = "BELLWETHER_CA_FILE";
/// Proxies close what is silent for longer than half a minute.
const LONG_POLL: Duration = Duration::from_secs(20);

/// The hook API, instead of access to the cluster.
#[derive(Debug, Args)]
#[command(next_help_heading = "Hook API, instead of a kubeconfig")]
pub(super) struct HookWay {
    /// Address of the hook API, such as https://bellwether.example [env: BELLWETHER_URL]
    #[arg(long, value_name = "URL", global = true, conflicts_with_all = ["context", "kubeconfig"])]
    hook: Option<String>,

    /// File with the bearer token [env: BELLWETHER_TOKEN_FILE, or BELLWETHER_TOKEN: the token itself]
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,

    /// Command that prints the bearer token; it is run again before the token ends, and when it is refused
    /// [env: BELLWETHER_TOKEN_COMMAND]
    #[arg(long, value_name = "COMMAND", global = true, conflicts_with = "token_file")]
    token_command: Option<String>,

    /// Certificates in PEM that are trusted, instead of the system's [env: BELLWETHER_CA_FILE]
    #[arg(long, value_name = "FILE", global = true)]
    ca_file: Option<PathBuf>,
}

impl HookWay {
    /// The address, if this is the backend.
    pub(super) fn url(&self, cluster_named: bool) -> Option<String> {
        let of_environment = || env(&[URL]).filter(|_| !cluster_named);
        self.hook.clone().or_else(of_environment)
    }

    pub(super) fn open(&self, url: &str, namespace: Option<&str>) -> anyhow::Result<HookApi> {
        let namespace = namespace
            .ok_or_else(|| Failure::input("the hook API needs to know the namespace: --namespace"))?;
        let file = |flag: &Option<PathBuf>, name| flag.clone().or_else(|| env(&[name]).map(PathBuf::from));
        let token = match (&self.token_file, &self.token_command) {
            (Some(path), _) => Some(Token::file(path.clone())),
            (None, Some(command)) => Some(Token::command(command.clone())),
            (None, None) => env(&[TOKEN_FILE])
                .map(|path| Token::file(path.into()))
                .or_else(|| env(&[TOKEN_COMMAND]).map(Token::command))
                .or_else(|| env(&[TOKEN]).map(Token::text)),
        };
        let token = token.ok_or_else(|| {
            let text = format!("the hook API needs a token: --token-file, --token-command, or {TOKEN}");
            Failure::input(text)
        })?;
        let ca = file(&self.ca_file, CA_FILE);
        Ok(HookApi {
            client: Arc::new(Client::new(url, token, ca.as_ref())?),
            namespace: namespace.to_owned(),
        })
    }
}

/// The hook API, and the namespace that is meant.
#[derive(Clone)]
pub(crate) struct HookApi {
    client: Arc<Client>,
    namespace: String,
}

/// A part of a log.
pub(super) struct Part {
    pub(super) text: String,
    /// The next offset.
    pub(super) end: i64,
}

impl HookApi {
    fn path<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        let mut segments = vec!["namespaces", self.namespace.as_str()];
        segments.extend(rest);
        segments
    }

    pub(super) async fn start(&self, request: &StartRequest) -> anyhow::Result<State> {
        let mut body = serde_json::to_value(&request.spec)?;
        if let Some(fields) = body.as_object_mut() {
            fields.remove("canaryRef");
        }
        let path = self.path(&["canaries", &request.spec.canary_ref.name, "promotions"]);
        self.client
            .ask(
                &Call::post(&path, body, &request.key).noting(&request.asked),
                state,
            )
            .await
    }

    /// The state of a promotion: at once, or when its number is above `after`, or the time of a long poll is over.
    pub(super) async fn state(&self, id: &str, after: Option<i64>) -> anyhow::Result<State> {
        let path = self.path(&["promotions", id]);
        let mut call = Call::get(&path);
        if let Some(seq) = after {
            call = call
                .with("waitSeconds", &LONG_POLL.as_secs())
                .with("afterSeq", &seq)
                .waiting(LONG_POLL);
        }
        self.client.ask(&call, state).await
    }

    /// The log of a promotion from a byte on.
    pub(super) async fn log(&self, id: &str, start: i64) -> anyhow::Result<Part> {
        const SIZE: HeaderName = HeaderName::from_static("x-text-size");
        let path = self.path(&["promotions", id, "log"]);
        let part = |answer: &Answer| {
            let end = answer.number(&SIZE)?;
            let lines: Vec<_> = answer.body.split('\n').map(printable).collect();
            let text = lines.join("\n");
            Some(Part { text, end })
        };
        self.client
            .ask(&Call::get(&path).with("start", &start), part)
            .await
    }

    pub(crate) async fn canary(&self, name: &str) -> anyhow::Result<Value> {
        let path = self.path(&["canaries", name]);
        let view = |answer: &Answer| answer.json().filter(|view| view["name"].is_string());
        self.client.ask(&Call::get(&path), view).await
    }

    pub(crate) async fn explanation(&self, canary: &str) -> anyhow::Result<Value> {
        let path = self.path(&["canaries", canary, "explanation"]);
        let told = |answer: &Answer| answer.json().filter(|told| told["next"].is_array());
        self.client.ask(&Call::get(&path), told).await
    }

    /// Orders something, and waits for the answer.
    pub(super) async fn order(&self, order: &Ordered<'_>) -> anyhow::Result<Value> {
        let subject = self.subject(order).await?;
        let verb = order.verb.path();
        let (path, mut body) = match &subject {
            Subject::Promotion(id) => (["promotions", id, verb], json!({})),
            Subject::Revision(revision) => (["canaries", order.canary, verb], json!({"revision": revision})),
        };
        if let Some(gate) = order.gate {
            body["gate"] = json!(gate);
        }
        if let Some(reason) = order.reason {
            let field = if order.gate.is_some() { "comment" } else { "reason" };
            body[field] = json!(reason);
        }
        if let Some(action) = order.action {
            body["action"] = json!(action);
        }
        let accepted = |answer: &Answer| answer.json().filter(|answer| answer.get("command").is_some());
        let path = self.path(&path);
        let answer = self
            .client
            .ask(&Call::post(&path, body, order.key), accepted)
            .await?;
        let outcome = match answer["command"].as_str() {
            None => Some(of_one_that_is_over(order.verb, &answer["promotion"]["result"])),
            Some(name) => order.in_time(name, self.outcome(order, name)).await?,
        };
        let (promotion, revision) = subject.named();
        let about = (promotion, revision);
        Ok(order.told(&self.namespace, about, &answer["command"], outcome.as_deref()))
    }

    /// What became of the order that the object of this name carries, when it is answered.
    async fn outcome(&self, order: &Ordered<'_>, name: &str) -> anyhow::Result<String> {
        let carriers = if order.gate.is_some() {
            "approvals"
        } else {
            "commands"
        };
        let path = self.path(&[carriers, name]);
        let call = Call::get(&path)
            .with("waitSeconds", &LONG_POLL.as_secs())
            .waiting(LONG_POLL);
        let outcome = |answer: &Answer| Some(answer.json()?.get("outcome")?.as_str().map(str::to_owned));
        loop {
            let began = tokio::time::Instant::now();
            if let Some(outcome) = self.client.ask(&call, outcome).await? {
                return Ok(outcome);
            }
            rest(PACE.saturating_sub(began.elapsed())).await;
        }
    }

    /// What an order is about: an undo or a retry about a revision, everything else about the promotion that runs. A gate
    /// of a release that no promotion started is decided on for its revision; nothing else can be ordered of it.
    async fn subject(&self, order: &Ordered<'_>) -> anyhow::Result<Subject> {
        let about_revision = matches!(order.verb, Verb::Undo | Verb::Retry);
        if let Some(id) = order.promotion {
            if about_revision {
                let text = format!(
                    "--promotion: the hook API takes {:?} of a revision only",
                    order.verb
                );
                return Err(Failure::input(text));
            }
            return Ok(Subject::Promotion(id.to_owned()));
        }
        let canary = self.canary(order.canary).await?;
        let field = if order.verb == Verb::Undo {
            "promoted"
        } else {
            "revision"
        };
        let meant = canary[field].as_str();
        if let Some(meant) = meant {
            order.check(meant)?;
        }
        let revision = || {
            let meant = meant.map(|meant| Subject::Revision(meant.to_owned()));
            meant.ok_or_else(|| Failure::with(Exit::Error, "the Canary has no revision yet"))
        };
        if about_revision {
            return revision();
        }
        let none = Vec::new();
        let listed = canary["promotions"].as_array().unwrap_or(&none);
        let ids: Vec<&str> = listed.iter().filter_map(Value::as_str).collect();
        match self.running(&ids).await? {
            Some(id) => Ok(Subject::Promotion(id)),
            None if order.gate.is_some() => revision(),
            None => Err(self.none_runs(order, &ids)),
        }
    }

    /// The promotion that runs, of those that are not over: the others have no release.
    async fn running(&self, ids: &[&str]) -> anyhow::Result<Option<String>> {
        for id in ids {
            if self.state(id, None).await?.seen.phase == "Running" {
                return Ok(Some((*id).to_owned()));
            }
        }
        Ok(None)
    }

    fn none_runs(&self, order: &Ordered<'_>, ids: &[&str]) -> anyhow::Error {
        let text = if ids.is_empty() {
            format!(
                "no promotion of {}/{} is under way; the hook API orders nothing of a release that was not started as one",
                self.namespace, order.canary
            )
        } else {
            format!("none of {} is running; name one: --promotion", ids.join(", "))
        };
        Failure::with(Exit::Error, text)
    }
}

/// What an order is about.
enum Subject {
    /// The release of a promotion, by its name.
    Promotion(String),
    /// A revision of the Canary.
    Revision(String),
}

impl Subject {
    /// Name of the promotion, or the revision.
    fn named(&self) -> (Option<&str>, Option<&str>) {
        match self {
            Subject::Promotion(id) => (Some(id), None),
            Subject::Revision(revision) => (None, Some(revision)),
        }
    }
}

fn state(answer: &Answer) -> Option<State> {
    State::read(answer.json()?)
}

/// What becomes of an order about a promotion that is over: what was wanted is so, or it came too late.
fn of_one_that_is_over(verb: Verb, result: &Value) -> String {
    let result = result.as_str().unwrap_or_default();
    let so = if verb == Verb::Abort {
        result == "Aborted"
    } else {
        result == "Promoted" && verb != Verb::Reject
    };
    if so {
        format!("nothing to do: the promotion is {result}")
    } else {
        format!("refused: the promotion is over: {result}")
    }
}
