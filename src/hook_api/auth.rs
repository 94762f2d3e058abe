//! Who asks, and whether they may.
//!
//! A token is looked at by each way in turn; the first that knows it names the user. Then the cluster's own RBAC decides,
//! through a SubjectAccessReview. Invariants: whatever cannot be asked is refused; only "yes" is remembered, for a minute;
//! no token is kept, logged or compared as such, only its digest.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use async_trait::async_trait;
use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec},
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
};
use kube::api::{Api, PostParams};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::{
    calls::is_name,
    oidc::Oidc,
    problem::{Code, Problem},
    rate_limited_log::RateLimitedLog,
    tokens::Tokens,
    ttl_cache::TtlCache,
};
use crate::{api::GROUP, clock::Clock, config_file::Reloaded};

/// Audience that a Kubernetes token must have been made for.
pub const AUDIENCE: &str = "bellwether";
/// How long a "yes" is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Reviews of each kind that are made at once: whoever has no right token must not make us flood the API server.
const REVIEWS: usize = 32;
/// Of these what one user may have.
const OWN_REVIEWS: usize = 8;
/// How long one review may take, with the wait for its turn.
const REVIEW_LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct User {
    /// Name.
    pub name: String,
    /// Groups.
    pub groups: Vec<String>,
    /// The people behind a build, by every name that its token has for them. They have none of its rights.
    pub actors: Vec<String>,
    /// What else the API server says of them, for RBAC.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Permission {
    /// Verb of RBAC.
    pub verb: &'static str,
    /// Resource of our group.
    pub resource: &'static str,
    /// Subresource.
    pub subresource: Option<&'static str>,
}

/// Where reviews are made.
#[async_trait]
pub trait Reviewer: Send + Sync {
    /// Whose Kubernetes token this is, if it was made for us.
    async fn whose(&self, token: &str) -> Result<Option<User>, Problem>;
    /// Whether `user` may do `permission` with the object `name`.
    async fn may(
        &self,
        user: &User,
        permission: Permission,
        namespace: &str,
        name: &str,
    ) -> Result<bool, Problem>;
}

/// The cluster itself.
pub struct Cluster(pub kube::Client);

#[async_trait]
impl Reviewer for Cluster {
    async fn whose(&self, token: &str) -> Result<Option<User>, Problem> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: Some(vec![AUDIENCE.to_owned()]),
            },
            ..TokenReview::default()
        };
        let api: Api<TokenReview> = Api::all(self.0.clone());
        let status = api
            .create(&PostParams::default(), &review)
            .await
            .map_err(|error| unasked(&error))?
            .status
            .unwrap_or_default();
        // A server that knows nothing of audiences answers without any: such a token may be for the API server itself.
        let ours = status
            .audiences
            .iter()
            .flatten()
            .any(|audience| audience == AUDIENCE);
        let user = status.user.filter(|_| status.authenticated == Some(true) && ours);
        Ok(user.and_then(|user| {
            Some(User {
                name: user.username.filter(|name| !name.is_empty())?,
                groups: user.groups.unwrap_or_default(),
                extra: user.extra.unwrap_or_default(),
                actors: Vec::new(),
            })
        }))
    }

    async fn may(
        &self,
        user: &User,
        permission: Permission,
        namespace: &str,
        name: &str,
    ) -> Result<bool, Problem> {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(user.name.clone()),
                groups: Some(user.groups.clone()),
                extra: Some(user.extra.clone()),
                resource_attributes: Some(ResourceAttributes {
                    group: Some(GROUP.to_owned()),
                    resource: Some(permission.resource.to_owned()),
                    subresource: permission.subresource.map(str::to_owned),
                    verb: Some(permission.verb.to_owned()),
                    namespace: Some(namespace.to_owned()),
                    name: Some(name.to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let api: Api<SubjectAccessReview> = Api::all(self.0.clone());
        let made = api.create(&PostParams::default(), &review).await;
        let status = made.map_err(|error| unasked(&error))?.status;
        Ok(status.is_some_and(|status| status.allowed && status.denied != Some(true)))
    }
}

/// A review could not be made. Whatever the API server says of that, it says nothing of who asks.
fn unasked(error: &kube::Error) -> Problem {
    static TOLD: RateLimitedLog = RateLimitedLog::new();
    if let Some(untold) = TOLD.turn() {
        tracing::warn!(%error, untold, "the API server makes no review of a token or a right");
    }
    Problem::new(
        Code::Unavailable,
        "the API server does not tell who this is or what they may",
    )
}

/// Whether somebody may do something: user, permission, namespace, name.
type Right = (User, Permission, String, String);

/// Lets in who may.
pub struct Gatekeeper {
    reviewer: Arc<dyn Reviewer>,
    tokens: Tokens,
    oidc: Option<Reloaded<Oidc>>,
    clock: Arc<dyn Clock>,
    known: TtlCache<[u8; 32], User>,
    allowed: TtlCache<Right, ()>,
    /// Turns to ask who somebody is. Apart from the others, so that those who are nobody keep nobody else waiting.
    whose: Semaphore,
    /// Turns to ask what somebody may.
    may: Semaphore,
    /// Those of each user who waits for one now.
    own: Mutex<HashMap<String, Weak<Semaphore>>>,
}

impl Gatekeeper {
    /// A gatekeeper that asks `reviewer`, and knows static `tokens`.
    #[must_use]
    pub fn new(reviewer: Arc<dyn Reviewer>, tokens: Tokens, clock: Arc<dyn Clock>) -> Gatekeeper {
        Gatekeeper {
            reviewer,
            tokens,
            oidc: None,
            clock,
            known: TtlCache::new(),
            allowed: TtlCache::new(),
            whose: Semaphore::new(REVIEWS),
            may: Semaphore::new(REVIEWS),
            own: Mutex::default(),
        }
    }

    /// The same, which also knows builds by the tokens of their issuers.
    #[must_use]
    pub fn with_oidc(mut self, oidc: Reloaded<Oidc>) -> Gatekeeper {
        self.oidc = Some(oidc);
        self
    }

    /// The user of a request with this `Authorization` that names `namespace`.
    ///
    /// # Errors
    /// If nobody is known by it, or if that cannot be found out.
    pub async fn authenticate(&self, authorization: Option<&str>, namespace: &str) -> Result<User, Problem> {
        self.user(bearer(authorization)?, namespace).await
    }

    /// The user of a request with this `Authorization`, if they may do `permission` with the object `name`.
    ///
    /// # Errors
    /// If nobody is known by it, if they may not, or if that cannot be found out.
    pub async fn admit(
        &self,
        authorization: Option<&str>,
        permission: Permission,
        namespace: &str,
        name: &str,
    ) -> Result<User, Problem> {
        let user = self.authenticate(authorization, namespace).await?;
        // What no object can be called is not asked about, nor remembered. Of a gate the Canary stands before it.
        let (object, gate) = name.split_once(':').unwrap_or((name, ""));
        let possible = object.is_empty() || is_name(object);
        if !is_name(namespace) || !possible || gate.len() > 63 {
            let kind = match permission.resource {
                "canaries" => "canary",
                plural => plural.trim_end_matches('s'),
            };
            return Err(Problem::new(
                Code::NotFound,
                format!("there is no {kind} of such a name"),
            ));
        }
        let right = (user.clone(), permission, namespace.to_owned(), name.to_owned());
        if self.allowed.recall(&right, self.clock.monotonic()).is_some() {
            return Ok(user);
        }
        let asked = async {
            // Whoever may nothing is asked about each time: they wait behind themselves, and keep nobody else waiting.
            let own = self.own_turns(&user.name);
            let _own = own.acquire().await.map_err(|_| slow())?;
            let _turn = self.may.acquire().await.map_err(|_| slow())?;
            if self.allowed.recall(&right, self.clock.monotonic()).is_some() {
                return Ok(true);
            }
            self.reviewer.may(&user, permission, namespace, name).await
        };
        let may = in_time(asked).await?;
        if !may {
            let path = permission
                .subresource
                .map_or(String::new(), |sub| format!("/{sub}"));
            let of = if name.is_empty() {
                String::new()
            } else {
                format!(" {name}")
            };
            return Err(Problem::new(
                Code::Forbidden,
                format!(
                    "{} may not {} {}{path}.{GROUP}{of} in namespace {namespace}",
                    user.name, permission.verb, permission.resource
                ),
            ));
        }
        let own = right.0.clone();
        let is_own = |(user, ..): &Right| *user == own;
        self.allowed
            .keep_share(right, (), self.clock.monotonic(), REMEMBERED, is_own);
        Ok(user)
    }

    /// The turns of one user, which live as long as somebody holds or awaits one.
    fn own_turns(&self, user: &str) -> Arc<Semaphore> {
        let mut all = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = all.get(user).and_then(Weak::upgrade) {
            return turns;
        }
        all.retain(|_, turns| turns.strong_count() > 0);
        let turns = Arc::new(Semaphore::new(OWN_REVIEWS));
        all.insert(user.to_owned(), Arc::downgrade(&turns));
        turns
    }

    async fn user(&self, token: &str, namespace: &str) -> Result<User, Problem> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        // Who says to be of an issuer that we know is asked for nothing else: no other way need see that token.
        let oidc = self.oidc.as_ref().map(Reloaded::get);
        if let Some(oidc) = &oidc
            && let Some(issuer) = oidc.issuer(token)
        {
            return self
                .recall_or(digest, oidc.user(issuer, token, self.clock.now()))
                .await;
        }
        if let Some(user) = self.tokens.user(&digest, namespace)? {
            return Ok(user);
        }
        let asked = async {
            let _turn = self.whose.acquire().await.map_err(|_| slow())?;
            // Somebody with the same token may have had a turn before.
            if let Some(user) = self.known.recall(&digest, self.clock.monotonic()) {
                return Ok((user, Duration::ZERO));
            }
            let user = self.reviewer.whose(token).await?.ok_or_else(|| {
                let text =
                    format!("nobody is known by this token; it must be made for the audience {AUDIENCE}");
                Problem::new(Code::Unauthenticated, text)
            })?;
            Ok((user, REMEMBERED))
        };
        self.recall_or(digest, asked).await
    }

    /// The user who is remembered, or whom `asked` tells and for how long at most.
    async fn recall_or(
        &self,
        digest: [u8; 32],
        asked: impl Future<Output = Result<(User, Duration), Problem>>,
    ) -> Result<User, Problem> {
        let now = self.clock.monotonic();
        if let Some(user) = self.known.recall(&digest, now) {
            return Ok(user);
        }
        let (user, good_for) = in_time(asked).await?;
        if !good_for.is_zero() {
            self.known
                .keep(digest, user.clone(), now, good_for.min(REMEMBERED));
        }
        Ok(user)
    }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    tokio::time::timeout(REVIEW_LIMIT, asked)
        .await
        .map_err(|_| slow())?
}

fn slow() -> Problem {
    Problem::new(
        Code::Unavailable,
        "it cannot be found out in time who this is or what they may",
    )
}

fn bearer(authorization: Option<&str>) -> Result<&str, Problem> {
    authorization
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .filter(|token| !token.is_empty())
        .ok_or_else(|| {
            Problem::new(
                Code::Unauthenticated,
                "header Authorization: Bearer <token> is missing",
            )
        })
}
