//! What the API server answers instead of an object: `Status`, worded as the real one words it.

use serde_json::{Value, json};

use super::resources::Kind;

/// A request that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status code.
    pub code: u16,
    /// CamelCase reason.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
}

impl Refusal {
    /// 404 of an object.
    #[must_use]
    pub fn not_found(kind: Kind, name: &str) -> Refusal {
        Refusal {
            code: 404,
            reason: "NotFound",
            message: format!("{} \"{name}\" not found", kind.resource().qualified()),
        }
    }

    /// 404 of a path: the kind is not served.
    #[must_use]
    pub fn not_served() -> Refusal {
        Refusal {
            code: 404,
            reason: "NotFound",
            message: "the server could not find the requested resource".to_owned(),
        }
    }

    /// 403: an admission policy lets nobody change the object.
    #[must_use]
    pub fn denied(kind: Kind, name: &str) -> Refusal {
        Refusal {
            code: 403,
            reason: "Forbidden",
            message: format!(
                "{} \"{name}\" is forbidden: ValidatingAdmissionPolicy 'deny-{name}' with binding 'deny-{name}' denied \
                 request: nobody may change it",
                kind.resource().qualified()
            ),
        }
    }

    /// 403: a quota lets nobody make another one.
    #[must_use]
    pub fn over_quota(kind: Kind, name: &str) -> Refusal {
        let qualified = kind.resource().qualified();
        let count = format!("count/{qualified}=1");
        Refusal {
            code: 403,
            reason: "Forbidden",
            message: format!(
                "{qualified} \"{name}\" is forbidden: exceeded quota: full, requested: {count}, used: {count}, limited: \
                 {count}"
            ),
        }
    }

    /// 409: the object is there already.
    #[must_use]
    pub fn exists(kind: Kind, name: &str) -> Refusal {
        Refusal {
            code: 409,
            reason: "AlreadyExists",
            message: format!("{} \"{name}\" already exists", kind.resource().qualified()),
        }
    }

    /// 409: the write was decided on an older version.
    #[must_use]
    pub fn conflict(kind: Kind, name: &str) -> Refusal {
        Refusal {
            code: 409,
            reason: "Conflict",
            message: format!(
                "Operation cannot be fulfilled on {} \"{name}\": the object has been modified; please apply your \
                 changes to the latest version and try again",
                kind.resource().qualified()
            ),
        }
    }

    /// 409: fields of an apply belong to other managers.
    #[must_use]
    pub fn apply_conflict(fields: &[(String, Vec<String>)]) -> Refusal {
        let count: usize = fields.iter().map(|(_, paths)| paths.len()).sum();
        let by_manager = fields.iter().map(|(manager, paths)| match &paths[..] {
            [one] => format!("conflict with {manager}: {one}"),
            more => format!("conflicts with {manager}:\n- {}", more.join("\n- ")),
        });
        Refusal {
            code: 409,
            reason: "Conflict",
            message: format!(
                "Apply failed with {count} conflict{}: {}",
                if count == 1 { "" } else { "s" },
                by_manager.collect::<Vec<_>>().join("\n")
            ),
        }
    }

    /// 409: the object is not the one that was meant.
    #[must_use]
    pub fn other_uid(kind: Kind, name: &str) -> Refusal {
        Refusal {
            message: format!(
                "Operation cannot be fulfilled on {} \"{name}\": Precondition failed: UID in precondition differs",
                kind.resource().qualified()
            ),
            ..Refusal::conflict(kind, name)
        }
    }

    /// 422: a JSON Patch could not be applied, for instance because a `test` failed.
    #[must_use]
    pub fn patch_failed() -> Refusal {
        Refusal {
            code: 422,
            reason: "Invalid",
            message: "the server rejected our request due to an error in our request".to_owned(),
        }
    }

    /// 422: the object is invalid.
    #[must_use]
    pub fn invalid(kind: Kind, name: &str, problems: &[String]) -> Refusal {
        let list = if let [one] = problems {
            one.clone()
        } else {
            format!("[{}]", problems.join(", "))
        };
        Refusal {
            code: 422,
            reason: "Invalid",
            message: format!("{} \"{name}\" is invalid: {list}", kind.resource().kind),
        }
    }

    /// 400: the request makes no sense.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Refusal {
        Refusal {
            code: 400,
            reason: "BadRequest",
            message: message.into(),
        }
    }

    /// 410: the asked version is no longer known.
    #[must_use]
    pub fn expired(asked: u64, oldest: u64) -> Refusal {
        Refusal {
            code: 410,
            reason: "Expired",
            message: format!("too old resource version: {asked} ({oldest})"),
        }
    }

    /// 410: the rest of a list is no longer known.
    #[must_use]
    pub fn page_expired() -> Refusal {
        Refusal {
            code: 410,
            reason: "Expired",
            message: "The provided continue parameter is too old to display a consistent list result."
                .to_owned(),
        }
    }

    /// The `Status` object.
    #[must_use]
    pub fn status(&self) -> Value {
        json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        })
    }
}
