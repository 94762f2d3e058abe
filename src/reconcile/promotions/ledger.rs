//! The ledger of forgotten promotions: written before a Promotion goes, and read when a key comes that nobody knows.

use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Map, Value, json};

use crate::{
    api::{LedgerEntry, PromotionLedger, PromotionLedgerSpec},
    promotion::ledger,
    workload::marks::MANAGER,
};

/// Notes what became of a Promotion.
///
/// # Errors
/// If that cannot be written.
pub async fn note(
    client: &kube::Client,
    namespace: &str,
    promotion: &str,
    entry: &LedgerEntry,
) -> Result<(), kube::Error> {
    let api: Api<PromotionLedger> = Api::namespaced(client.clone(), namespace);
    let name = ledger::name(promotion);
    let written = match patch(&api, &name, json!({promotion: entry})).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            create(&api, &name, promotion, entry).await?;
            patch(&api, &name, json!({promotion: entry})).await?
        }
        written => written?,
    };
    let gone = ledger::too_old(&written.spec.entries, promotion);
    if !gone.is_empty() {
        let none: Map<String, Value> = gone.into_iter().map(|name| (name.clone(), Value::Null)).collect();
        patch(&api, &name, Value::Object(none)).await?;
    }
    Ok(())
}

/// Entries never change, so that no write needs to know what was there before.
async fn patch(
    api: &Api<PromotionLedger>,
    name: &str,
    entries: Value,
) -> Result<PromotionLedger, kube::Error> {
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    api.patch(
        name,
        &params,
        &Patch::Merge(json!({"spec": {"entries": entries}})),
    )
    .await
}

async fn create(
    api: &Api<PromotionLedger>,
    name: &str,
    promotion: &str,
    entry: &LedgerEntry,
) -> Result<(), kube::Error> {
    let ledger = PromotionLedger {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        spec: PromotionLedgerSpec {
            entries: [(promotion.to_owned(), entry.clone())].into(),
        },
    };
    match api.create(&PostParams::default(), &ledger).await {
        // Another round was faster.
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
        created => created.map(drop),
    }
}

/// What became of the Promotion of this name, if it is noted.
///
/// # Errors
/// If that cannot be read.
pub async fn find(
    client: &kube::Client,
    namespace: &str,
    promotion: &str,
) -> Result<Option<LedgerEntry>, kube::Error> {
    let api: Api<PromotionLedger> = Api::namespaced(client.clone(), namespace);
    let ledger = match api.get_opt(&ledger::name(promotion)).await {
        Err(kube::Error::Api(status)) if status.code == 404 => None,
        found => found?,
    };
    Ok(ledger.and_then(|mut ledger| ledger.spec.entries.remove(promotion)))
}
