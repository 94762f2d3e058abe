//! What is wanted of a release, and said at gates: each becomes an object, which the leader heeds or refuses.

use std::collections::BTreeSet;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{Caller, over, permission};
use crate::{
    api::{AbortAction, ApprovalSpec, CanaryRef, CommandSpec, GateDecision, Promotion, Verb},
    hook_api::{
        Hook,
        auth::{Permission, User},
        body::{self, Abort, Order, RevisionOrder, RevisionSettlement, Settlement},
        extract::RequestBody,
        problem::{Code, Problem},
        view::{Accepted, OrderLinks, order_path},
    },
    promotion::names,
    reconcile::kinds::Kind,
};

/// The right to give an order about a Canary, by its name: RBAC can bind it to one.
const fn right(order: &'static str) -> Permission {
    permission("create", "canaries", Some(order))
}

/// What an order is about, by its path.
pub enum About {
    /// The release of the promotion of this name.
    Promotion(String),
    /// A revision of the Canary of this name; the body names the revision.
    Canary(String),
}

impl About {
    /// Name of the Canary that is meant, for whoever is authenticated. A promotion that does not exist is of none: only who has
    /// the right for all may ask.
    async fn canary(&self, hook: &Hook, namespace: &str) -> Result<String, Problem> {
        match self {
            About::Canary(name) => Ok(name.clone()),
            About::Promotion(id) => match hook.find_promotion(namespace, id).await {
                Ok(promotion) => Ok(promotion.spec.canary_ref.name),
                Err(problem) if [Code::NotFound, Code::Expired, Code::Unreadable].contains(&problem.code) => {
                    Ok(String::new())
                }
                Err(problem) => Err(problem),
            },
        }
    }

    /// A refusal that does not tell of which Canary a promotion is, nor whether it exists.
    fn keep_quiet(&self, problem: Problem) -> Problem {
        match self {
            About::Promotion(id) if problem.code == Code::Forbidden => {
                let text = format!("you may not order this of promotion {id}, or it does not exist");
                Problem::new(Code::Forbidden, text)
            }
            _ => problem,
        }
    }
}

/// An order as it came.
pub struct Given {
    /// What its headers say.
    pub caller: Caller,
    /// Namespace of what it is about.
    pub namespace: String,
    /// What it is about.
    pub about: About,
    /// Its body.
    pub body: RequestBody,
}

/// What whoever orders says of it.
struct Said {
    /// Why, in their words.
    words: Option<String>,
    /// Who else is behind it.
    on_behalf_of: Vec<String>,
}

impl Said {
    fn check(&self, field: &str) -> Result<(), Problem> {
        body::check_words(field, self.words.as_deref())?;
        body::check_people("onBehalfOf", &self.on_behalf_of)
    }
}

/// Those whom the client names and those whom its token names, each once.
pub(super) fn people(named: Vec<String>, actors: Vec<String>) -> Vec<String> {
    named
        .into_iter()
        .chain(actors)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// What an order is about, as it was found.
enum Subject {
    /// The release of a promotion.
    Promotion(Box<Promotion>),
    /// A revision of a Canary.
    Revision { canary: String, revision: String },
}

impl Subject {
    async fn find(
        hook: &Hook,
        namespace: &str,
        about: About,
        admitted: &str,
        revision: Option<String>,
    ) -> Result<Subject, Problem> {
        match about {
            About::Promotion(id) => {
                let promotion = hook.find_promotion(namespace, &id).await?;
                // While the body was read another one may have taken the name.
                if promotion.spec.canary_ref.name != admitted {
                    let text = format!("promotion {id} is another one than a moment ago");
                    return Err(Problem::new(Code::Conflict, text));
                }
                Ok(Subject::Promotion(Box::new(promotion)))
            }
            About::Canary(canary) => {
                let revision = revision.unwrap_or_default();
                body::within("revision", &revision, 8..=64)?;
                hook.find_canary(namespace, &canary)?;
                Ok(Subject::Revision { canary, revision })
            }
        }
    }

    fn canary(&self) -> CanaryRef {
        match self {
            Subject::Promotion(promotion) => promotion.spec.canary_ref.clone(),
            Subject::Revision { canary, .. } => CanaryRef { name: canary.clone() },
        }
    }

    /// Name of the promotion, or the revision.
    fn named(&self) -> (Option<String>, Option<String>) {
        match self {
            Subject::Promotion(promotion) => (promotion.metadata.name.clone(), None),
            Subject::Revision { revision, .. } => (None, Some(revision.clone())),
        }
    }

    /// UID of the promotion.
    fn life(&self) -> Option<&str> {
        match self {
            Subject::Promotion(promotion) => promotion.metadata.uid.as_deref(),
            Subject::Revision { .. } => None,
        }
    }

    fn command(&self, verb: Verb, action: Option<AbortAction>, said: Said, user: User) -> CommandSpec {
        let (promotion, revision) = self.named();
        CommandSpec {
            canary_ref: self.canary(),
            verb,
            revision,
            promotion,
            action,
            reason: body::words(said.words),
            requested_by: user.name,
            on_behalf_of: people(said.on_behalf_of, user.actors),
        }
    }

    fn approval(&self, gate: String, decision: GateDecision, said: Said, user: User) -> ApprovalSpec {
        let (promotion, revision) = self.named();
        ApprovalSpec {
            canary_ref: self.canary(),
            gate,
            decision,
            revision,
            promotion,
            comment: body::words(said.words),
            approved_by: user.name,
            on_behalf_of: people(said.on_behalf_of, user.actors),
        }
    }

    /// Hands an object in. About a promotion that is over there is nothing to do.
    async fn order(
        &self,
        hook: &Hook,
        namespace: &str,
        (kind, name): (Kind, String),
        spec: &(impl serde::Serialize + Sync),
    ) -> Result<Response, Problem> {
        let promotion = match self {
            Subject::Promotion(promotion) => Some(promotion),
            Subject::Revision { .. } => None,
        };
        let state = promotion.map(|promotion| hook.view(promotion));
        if promotion.is_some_and(|promotion| over(promotion)) {
            let nothing = Accepted {
                command: None,
                promotion: state,
                links: OrderLinks { order: None },
            };
            return Ok(axum::Json(nothing).into_response());
        }
        hook.create_order(kind, namespace, &name, spec).await?;
        let path = order_path(kind, namespace, &name);
        let location = HeaderValue::from_str(&path).unwrap_or(HeaderValue::from_static("/"));
        let accepted = Accepted {
            command: Some(name),
            promotion: state,
            links: OrderLinks { order: Some(path) },
        };
        let headers = [(header::LOCATION, location)];
        Ok((StatusCode::ACCEPTED, headers, axum::Json(accepted)).into_response())
    }
}

/// Orders something about the release of a promotion, or about a revision of a Canary.
pub async fn command(hook: &Hook, given: Given, verb: Verb) -> Result<Response, Problem> {
    let Given {
        caller,
        namespace,
        about,
        body,
    } = given;
    hook.authenticate(&caller, &namespace).await?;
    let canary = about.canary(hook, &namespace).await?;
    let user = hook
        .admit(&caller, right(verb.path()), &namespace, &canary)
        .await
        .map_err(|problem| about.keep_quiet(problem))?;
    let mut action = None;
    let (revision, words, on_behalf_of) = match (&about, verb) {
        (About::Promotion(_), Verb::Abort) => {
            let abort: Abort = body.read(hook, &namespace).await?;
            action = abort.action;
            (None, abort.reason, abort.on_behalf_of)
        }
        (About::Promotion(_), _) => {
            let order: Order = body.read(hook, &namespace).await?;
            (None, order.reason, order.on_behalf_of)
        }
        (About::Canary(_), _) => {
            let order: RevisionOrder = body.read(hook, &namespace).await?;
            (Some(order.revision), order.reason, order.on_behalf_of)
        }
    };
    let said = Said { words, on_behalf_of };
    said.check("reason")?;
    let subject = Subject::find(hook, &namespace, about, &canary, revision).await?;
    let spec = subject.command(verb, action, said, user);
    hook.make_room(
        Kind::Command,
        &namespace,
        &spec.canary_ref.name,
        &spec.requested_by,
    )?;
    let name = names::command(&namespace, &spec, subject.life(), &key(hook, &caller));
    subject
        .order(hook, &namespace, (Kind::Command, name), &spec)
        .await
}

/// Approves or rejects a gate, for the release of a promotion or for a revision of a Canary.
pub async fn approval(hook: &Hook, given: Given, decision: GateDecision) -> Result<Response, Problem> {
    let Given {
        caller,
        namespace,
        about,
        body,
    } = given;
    let user = hook.authenticate(&caller, &namespace).await?;
    let canary = about.canary(hook, &namespace).await?;
    // Who may not decide on every gate may decide on the one that the body names.
    let all = hook.admit(&caller, right("approve"), &namespace, &canary).await;
    let all = all.map_err(|problem| about.keep_quiet(problem));
    if let Err(problem) = &all
        && problem.code != Code::Forbidden
    {
        return Err(problem.clone());
    }
    let (gate, revision, words, on_behalf_of) = match &about {
        About::Promotion(_) => {
            let said: Settlement = body.read(hook, &namespace).await?;
            (said.gate, None, said.comment, said.on_behalf_of)
        }
        About::Canary(_) => {
            let said: RevisionSettlement = body.read(hook, &namespace).await?;
            (said.gate, Some(said.revision), said.comment, said.on_behalf_of)
        }
    };
    body::within("gate", &gate, 1..=63)?;
    if let Err(problem) = all {
        let one = format!("{canary}:{gate}");
        let admitted = hook.admit(&caller, right("approve"), &namespace, &one).await;
        admitted.map_err(|_| problem)?;
    }
    let said = Said { words, on_behalf_of };
    said.check("comment")?;
    let subject = Subject::find(hook, &namespace, about, &canary, revision).await?;
    let spec = subject.approval(gate, decision, said, user);
    hook.make_room(
        Kind::Approval,
        &namespace,
        &spec.canary_ref.name,
        &spec.approved_by,
    )?;
    let name = names::approval(&namespace, &spec, subject.life(), &key(hook, &caller));
    subject
        .order(hook, &namespace, (Kind::Approval, name), &spec)
        .await
}

/// What makes an order unique: the client's key, or chance if it has none.
fn key(hook: &Hook, caller: &Caller) -> String {
    caller.key.clone().unwrap_or_else(|| hook.ctx.jitter.unique())
}
