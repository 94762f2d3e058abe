//! Lists in pages: all pages of a list show the objects as they were at the first.

use std::{collections::VecDeque, sync::Arc};

use serde_json::{Value, json};

use super::{refusal::Refusal, resources::Kind, selector::Selector, store::Store};

/// Lists that can be gone on with.
const REMEMBERED: usize = 64;

/// What is asked of a list.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The kind.
    pub kind: Kind,
    /// The namespace; all if absent.
    pub namespace: Option<String>,
    /// Which objects.
    pub selector: Selector,
    /// At most so many.
    pub limit: Option<usize>,
    /// Where the last page ended.
    pub after: Option<String>,
}

/// The rests of lists, by the token under which they can be asked for.
#[derive(Default)]
pub struct Pages {
    rests: VecDeque<(String, Rest)>,
    counter: u64,
}

#[derive(Clone)]
struct Rest {
    version: u64,
    objects: Vec<Arc<Value>>,
}

impl Pages {
    /// Answers a list.
    ///
    /// # Errors
    /// If the page that it goes on from is no longer known.
    pub fn answer(&mut self, store: &Store, ask: &Ask) -> Result<Value, Refusal> {
        let Rest { version, mut objects } = match &ask.after {
            Some(token) => self.rest(token)?,
            None => Rest {
                version: store.version(),
                objects: store
                    .list(ask.kind, ask.namespace.as_deref())
                    .filter(|(_, object)| ask.selector.selects(object))
                    .map(|(_, object)| object.clone())
                    .collect(),
            },
        };
        let mut metadata = json!({"resourceVersion": version.to_string()});
        let limit = ask.limit.unwrap_or(usize::MAX);
        if objects.len() > limit {
            let left = objects.split_off(limit);
            if ask.selector.is_empty() {
                metadata["remainingItemCount"] = left.len().into();
            }
            metadata["continue"] = self
                .keep(Rest {
                    version,
                    objects: left,
                })
                .into();
        }
        let resource = ask.kind.resource();
        Ok(json!({
            "apiVersion": resource.api_version(),
            "kind": format!("{}List", resource.kind),
            "metadata": metadata,
            "items": objects.iter().map(|object| item(object)).collect::<Vec<_>>(),
        }))
    }

    fn rest(&self, token: &str) -> Result<Rest, Refusal> {
        let found = self.rests.iter().find(|(known, _)| known == token);
        found
            .map(|(_, rest)| rest.clone())
            .ok_or_else(Refusal::page_expired)
    }

    fn keep(&mut self, rest: Rest) -> String {
        self.counter += 1;
        let token = format!("page-{}", self.counter);
        self.rests.push_back((token.clone(), rest));
        if self.rests.len() > REMEMBERED {
            self.rests.pop_front();
        }
        token
    }
}

/// As the real server: items of a list come without their type.
fn item(object: &Value) -> Value {
    let mut item = object.clone();
    if let Some(fields) = item.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    item
}
