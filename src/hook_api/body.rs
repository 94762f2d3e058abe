//! What requests say. Unknown fields are errors: a misspelt field of a deploy request must not pass.

use std::{collections::BTreeMap, ops::RangeInclusive};

use axum::body::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::problem::{Code, Problem};
use crate::{
    api::{AbortAction, Awaited, CanaryRef, Policy, PromotionSpec, Requester},
    printable::{is_printable, printable},
};

/// People whom a client may name beside the one who asks.
const MOST_PEOPLE: usize = 10;

/// A promotion to start. Exactly one of `image`, `images` and `await`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewPromotion {
    /// Image of the workload's only container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 500))]
    pub image: Option<String>,
    /// Image by name of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<BTreeMap<String, String>>,
    /// What the workload will have when somebody else has changed it.
    #[serde(default, rename = "await", skip_serializing_if = "Option::is_none")]
    pub awaited: Option<Awaited>,
    /// Who asks.
    #[serde(default)]
    pub requester: Requester,
    /// What to do when things go otherwise.
    #[serde(default)]
    pub policy: Policy,
}

impl NewPromotion {
    /// As the object's specification.
    #[must_use]
    pub fn into_spec(self, canary: &str, digest: String) -> PromotionSpec {
        PromotionSpec {
            canary_ref: CanaryRef {
                name: canary.to_owned(),
            },
            image: self.image,
            images: self.images,
            r#await: self.awaited,
            requester: self.requester,
            policy: self.policy,
            request_digest: Some(digest),
        }
    }

    /// What would be refused whatever the cluster says.
    ///
    /// # Errors
    /// The first field that cannot be used.
    pub fn check(&self) -> Result<(), Problem> {
        let given = [
            self.image.is_some(),
            self.images.is_some(),
            self.awaited.is_some(),
        ];
        if given.iter().filter(|given| **given).count() != 1 {
            return Err(bad("set exactly one of image, images and await"));
        }
        if self.requester.authenticated_as.is_some() {
            return Err(bad("requester.authenticatedAs: is set by Bellwether"));
        }
        self.check_lengths()
    }

    /// As the description says, whatever the API server makes of it.
    fn check_lengths(&self) -> Result<(), Problem> {
        let (requester, awaited) = (&self.requester, self.awaited.as_ref());
        for (field, text, shortest, longest) in [
            ("image", self.image.as_ref(), 1, 500),
            (
                "await.image",
                awaited.and_then(|awaited| awaited.image.as_ref()),
                1,
                500,
            ),
            (
                "await.revision",
                awaited.and_then(|awaited| awaited.revision.as_ref()),
                8,
                64,
            ),
            ("requester.kind", requester.kind.as_ref(), 0, 63),
            ("requester.controller", requester.controller.as_ref(), 0, 253),
            ("requester.job", requester.job.as_ref(), 0, 500),
            ("requester.buildUrl", requester.build_url.as_ref(), 0, 2000),
            ("requester.buildTag", requester.build_tag.as_ref(), 0, 500),
            ("requester.user", requester.user.as_ref(), 0, 253),
            ("requester.commit", requester.commit.as_ref(), 0, 100),
        ] {
            if let Some(text) = text {
                within(field, text, shortest..=longest)?;
            }
        }
        let images = [
            ("images", &self.images),
            (
                "await.images",
                &awaited.and_then(|awaited| awaited.images.clone()),
            ),
        ];
        for (field, images) in images {
            let fits = |image: &String| (1..=500).contains(&image.chars().count());
            if images
                .as_ref()
                .is_some_and(|images| !(1..=32).contains(&images.len()) || !images.values().all(fits))
            {
                return Err(bad(format!(
                    "{field}: must be 1 to 32 images of 1 to 500 characters"
                )));
            }
        }
        check_people("requester.onBehalfOf", &requester.on_behalf_of)?;
        if requester.build_number.is_some_and(i64::is_negative) {
            return Err(bad("requester.buildNumber: must not be negative"));
        }
        Ok(())
    }
}

/// An abort.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Abort {
    /// What becomes of the release; what the promotion's policy says, if absent.
    #[serde(default)]
    pub action: Option<AbortAction>,
    /// Why.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub reason: Option<String>,
    /// Others who are behind it, such as the submitter of an `input` step: each of them counts as who decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(length(min = 1, max = 253)))]
    pub on_behalf_of: Vec<String>,
}

/// An order about a promotion.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Order {
    /// Why.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub reason: Option<String>,
    /// Others who are behind it, such as the submitter of an `input` step: each of them counts as who decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(length(min = 1, max = 253)))]
    pub on_behalf_of: Vec<String>,
}

/// An order about a revision of a Canary.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RevisionOrder {
    /// The revision that is meant, as the Canary's state names it.
    #[schemars(length(min = 8, max = 64))]
    pub revision: String,
    /// Why.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub reason: Option<String>,
    /// Others who are behind it, such as the submitter of an `input` step: each of them counts as who decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(length(min = 1, max = 253)))]
    pub on_behalf_of: Vec<String>,
}

/// A yes or no at a gate, for the release of a promotion.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settlement {
    /// Name of the gate.
    #[schemars(length(min = 1, max = 63))]
    pub gate: String,
    /// Why.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub comment: Option<String>,
    /// Others who are behind it, such as the submitter of an `input` step: each of them counts as who decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(length(min = 1, max = 253)))]
    pub on_behalf_of: Vec<String>,
}

/// A yes or no at a gate, for a revision of a Canary.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RevisionSettlement {
    /// Name of the gate.
    #[schemars(length(min = 1, max = 63))]
    pub gate: String,
    /// The revision that is meant, as the Canary's state names it.
    #[schemars(length(min = 8, max = 64))]
    pub revision: String,
    /// Why.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub comment: Option<String>,
    /// Others who are behind it, such as the submitter of an `input` step: each of them counts as who decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(length(min = 1, max = 253)))]
    pub on_behalf_of: Vec<String>,
}

/// A text of so many characters; `field` is its name.
///
/// # Errors
/// If it has less or more.
pub fn within(field: &str, text: &str, characters: RangeInclusive<usize>) -> Result<(), Problem> {
    if characters.contains(&text.chars().count()) {
        return Ok(());
    }
    let (shortest, longest) = characters.into_inner();
    Err(bad(format!(
        "{field}: must have {shortest} to {longest} characters"
    )))
}

/// A text in somebody's words, within bounds; `field` is its name.
///
/// # Errors
/// If it is too long.
pub fn check_words(field: &str, text: Option<&str>) -> Result<(), Problem> {
    within(field, text.unwrap_or_default(), 0..=1000)
}

/// Reads a body; an empty one is an empty object.
///
/// # Errors
/// If it is not what it must be.
pub fn read<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, Problem> {
    let text = if bytes.is_empty() { &b"{}"[..] } else { bytes };
    if let Ok(json) = serde_json::from_slice::<Value>(text) {
        let mut problems = Vec::new();
        look(&json, "", &mut problems);
        if !problems.is_empty() {
            return Err(bad(format!("body: {}", problems.join("; "))));
        }
    }
    let mut json = serde_json::Deserializer::from_slice(text);
    let read = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| bad(format!("body: {}: {}", error.path(), error.inner())))?;
    json.end().map_err(|error| bad(format!("body: {error}")))?;
    Ok(read)
}

/// The only field that is a list; any other list would be taken for the fields of an object in their order.
const LIST: &str = "onBehalfOf";
/// Fields in a person's words, which may have lines; they are made one ([`words`]).
const WORDS: [&str; 2] = ["reason", "comment"];

/// What no field may be, whatever it means.
fn look(json: &Value, path: &str, problems: &mut Vec<String>) {
    let name = path.rsplit('.').next().unwrap_or_default();
    match json {
        Value::Array(items) if name == LIST && items.iter().all(Value::is_string) => {
            for (n, item) in items.iter().enumerate() {
                look(item, &format!("{path}[{n}]"), problems);
            }
        }
        Value::Array(_) if name == LIST => problems.push(format!("{path}: must be a list of names")),
        Value::Array(_) if path.is_empty() => problems.push("must be an object".to_owned()),
        Value::Array(_) => problems.push(format!("{path}: must be no list")),
        Value::Object(fields) => {
            for (name, value) in fields {
                let below = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                look(value, &printable(&below), problems);
            }
        }
        Value::String(text) if !WORDS.contains(&name) && !text.chars().all(is_printable) => {
            problems.push(format!(
                "{path}: must have no control or bidirectional characters"
            ));
        }
        _ => {}
    }
}

/// A text in somebody's words as it is kept: in one line, and without what changes a terminal.
#[must_use]
pub fn words(text: Option<String>) -> Option<String> {
    text.map(|text| printable(&text).into_owned())
}

/// Names of people, and who else is behind a call.
///
/// # Errors
/// If there are too many, or one is too long.
pub fn check_people(field: &str, names: &[String]) -> Result<(), Problem> {
    if names.len() > MOST_PEOPLE {
        return Err(bad(format!("{field}: must be at most {MOST_PEOPLE} names")));
    }
    for name in names {
        within(field, name, 1..=253)?;
    }
    Ok(())
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(Code::BadRequest, detail)
}
