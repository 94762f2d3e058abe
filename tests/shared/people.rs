//! Those whom the hook API lets in.

use async_trait::async_trait;
use bellwether::hook_api::{
    Problem,
    auth::{Permission, Reviewer, User},
};

use super::shop::NS;

/// Knows `good` and `lead`, who may do everything, `reader`, who may only read, `orderer`, who may only create,
/// `everywhere`, who may anything in any namespace, `narrow`, who may only about the Canary `other`, and `smoke`, who may only
/// decide on the gate of that name.
pub struct People;

#[async_trait]
impl Reviewer for People {
    async fn whose(&self, token: &str) -> Result<Option<User>, Problem> {
        let all = [
            "good",
            "lead",
            "reader",
            "orderer",
            "everywhere",
            "narrow",
            "smoke",
        ];
        let known = all.contains(&token);
        Ok(known.then(|| User {
            name: token.to_owned(),
            ..User::default()
        }))
    }

    async fn may(
        &self,
        user: &User,
        permission: Permission,
        namespace: &str,
        name: &str,
    ) -> Result<bool, Problem> {
        Ok(match user.name.as_str() {
            "everywhere" => true,
            "reader" => namespace == NS && permission.verb == "get",
            "orderer" => namespace == NS && permission.verb == "create",
            "narrow" => namespace == NS && permission.resource == "canaries" && name == "other",
            "smoke" => namespace == NS && permission.subresource == Some("approve") && name == "shop:smoke",
            _ => namespace == NS,
        })
    }
}
