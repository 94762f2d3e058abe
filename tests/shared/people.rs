//! Those whom the hook API lets in.

use async_trait::async_trait;
use bellwether::hook_api::{
    Problem,
    auth::{Permission, Reviewer, User},
};

use super::shop::NS;

/// Knows `good` and `lead`, who may do everything, `reader`, who may only read, `orderer`, who may only create, and
/// `everywhere`, who may anything in any namespace.
pub struct People;

#[async_trait]
impl Reviewer for People {
    async fn whose(&self, token: &str) -> Result<Option<User>, Problem> {
        let known = ["good", "lead", "reader", "orderer", "everywhere"].contains(&token);
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
        _: &str,
    ) -> Result<bool, Problem> {
        Ok(match user.name.as_str() {
            "everywhere" => true,
            "reader" => namespace == NS && permission.verb == "get",
            "orderer" => namespace == NS && permission.verb == "create",
            _ => namespace == NS,
        })
    }
}
