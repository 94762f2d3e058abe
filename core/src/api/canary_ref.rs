//! A Canary by name, as other resources name it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Canary by name.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CanaryRef {
    /// Its name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}
