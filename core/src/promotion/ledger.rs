//! Where the results of forgotten promotions are kept: a few objects for each namespace, so that no write grows with all of
//! them.

use std::collections::BTreeMap;

use super::SeenPromotion;
use crate::api::LedgerEntry;

/// Entries from which on the oldest go.
pub const FULL: usize = 500;
/// Entries that stay then.
const KEPT: usize = 400;

/// Name of the PromotionLedger in which the Promotion of this name is kept. Names end with digits of a digest
/// ([`super::names::promotion`]), so the sixteen of a namespace fill evenly.
#[must_use]
pub fn name(promotion: &str) -> String {
    let last = promotion.chars().next_back().filter(char::is_ascii_hexdigit);
    format!("promotions-{}", last.unwrap_or('0').to_ascii_lowercase())
}

/// What is kept of a Promotion: nothing unless a client may come again with its key.
#[must_use]
pub fn entry(promotion: &SeenPromotion) -> Option<LedgerEntry> {
    promotion.spec.request_digest.as_ref()?;
    Some(LedgerEntry {
        canary: promotion.spec.canary_ref.name.clone(),
        result: promotion.status.phase?,
        finished_at: promotion.status.finished_at?,
    })
}

/// The entries that go because there are too many: those that ended first, but never that of `noted`, which was written a moment
/// ago and may have ended long before.
#[must_use]
pub fn too_old<'a>(entries: &'a BTreeMap<String, LedgerEntry>, noted: &str) -> Vec<&'a String> {
    if entries.len() <= FULL {
        return Vec::new();
    }
    let mut by_age: Vec<_> = entries.iter().collect();
    by_age.sort_by_key(|(name, entry)| (entry.finished_at, *name));
    let too_many = by_age.len() - KEPT;
    let others = by_age.into_iter().map(|(name, _)| name);
    others.filter(|name| *name != noted).take(too_many).collect()
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;
    use crate::{api::PromotionPhase, promotion::names};

    #[test]
    fn names_are_spread_over_sixteen_ledgers() {
        let ledgers: std::collections::BTreeSet<String> = (0..200)
            .map(|key| name(&names::promotion("shop", "web", &key.to_string())))
            .collect();
        assert_eq!(ledgers.len(), 16);
        assert_eq!(name("by-hand"), "promotions-d");
        assert_eq!(name("käse-ö"), "promotions-0");
    }

    #[test]
    fn oldest_go_when_there_are_too_many() {
        let entry = |n: i64| LedgerEntry {
            canary: "web".to_owned(),
            result: PromotionPhase::Promoted,
            finished_at: DateTime::UNIX_EPOCH + TimeDelta::seconds(n),
        };
        let mut entries: BTreeMap<String, LedgerEntry> =
            (0..500).map(|n| (format!("p-{}", 999 - n), entry(n))).collect();
        assert!(too_old(&entries, "p-500").is_empty());
        entries.insert("p-new".to_owned(), entry(500));
        let gone = too_old(&entries, "p-new");
        assert_eq!((gone.len(), gone[0].as_str()), (101, "p-999"));
        assert!(!gone.contains(&&"p-new".to_owned()));
        // One that was kept for long is forgotten last, not first.
        let gone = too_old(&entries, "p-999");
        assert_eq!((gone.len(), gone[0].as_str()), (101, "p-998"));
    }
}
