//! What the controller asked of the API server, counted from the audit log.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use serde_json::Value;

/// The audit log; it has nobody's requests but the controller's.
pub struct AuditLog {
    file: PathBuf,
}

/// Requests by what they were, of one namespace and a stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Gets and lists, by `verb resource`.
    pub reads: BTreeMap<String, usize>,
    /// Creates, updates, patches and deletes, by `verb resource`.
    pub writes: BTreeMap<String, usize>,
    /// Watches started.
    pub watches: usize,
    /// Anything about leases.
    pub leases: usize,
}

impl AuditLog {
    /// The log in this file.
    pub fn new(file: PathBuf) -> Self {
        Self { file }
    }

    /// Every request since the cluster was started.
    pub async fn entries(&self) -> Result<Vec<Value>> {
        let text = tokio::fs::read_to_string(&self.file)
            .await
            .context("cannot read the audit log")?;
        // The last line may be half written.
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        let entry = |line| serde_json::from_str(line).context("a line of the audit log is no JSON");
        complete.lines().map(entry).collect()
    }

    /// Counts the requests about objects in `namespace` that came in between two instants.
    ///
    /// Requests across all namespaces are counted for every namespace, since they serve each.
    pub async fn count(&self, namespace: &str, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Requests> {
        let mut requests = Requests::default();
        for entry in self.entries().await? {
            let received = field(&entry, "/requestReceivedTimestamp").parse::<DateTime<Utc>>()?;
            let of = field(&entry, "/objectRef/namespace");
            if received >= from && received < to && (of.is_empty() || of == namespace) {
                requests.add(&entry);
            }
        }
        Ok(requests)
    }
}

impl Requests {
    /// How many reads there were.
    pub fn total_reads(&self) -> usize {
        self.reads.values().sum()
    }

    /// How many writes there were.
    pub fn total_writes(&self) -> usize {
        self.writes.values().sum()
    }

    fn add(&mut self, entry: &Value) {
        let verb = field(entry, "/verb");
        let resource = field(entry, "/objectRef/resource");
        let started = field(entry, "/stage") == "ResponseStarted";
        // A watch shows up when it starts and again when it ends.
        if verb == "watch" {
            self.watches += usize::from(started);
            return;
        }
        if started {
            return;
        }
        if resource == "leases" {
            self.leases += 1;
            return;
        }
        let part = match field(entry, "/objectRef/subresource") {
            "" => format!("{verb} {resource}"),
            subresource => format!("{verb} {resource}/{subresource}"),
        };
        let counts = if matches!(verb, "get" | "list") {
            &mut self.reads
        } else {
            &mut self.writes
        };
        *counts.entry(part).or_default() += 1;
    }
}

impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} reads {:?}, {} writes {:?}, {} watches, {} about leases",
            self.total_reads(),
            self.reads,
            self.total_writes(),
            self.writes,
            self.watches,
            self.leases
        )
    }
}

fn field<'a>(entry: &'a Value, pointer: &str) -> &'a str {
    entry.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = r#"{"stage":"ResponseStarted","verb":"watch","objectRef":{"resource":"canaries"},"requestReceivedTimestamp":"2026-01-01T00:00:01.000000Z"}
{"stage":"ResponseComplete","verb":"watch","objectRef":{"resource":"canaries"},"requestReceivedTimestamp":"2026-01-01T00:00:01.000000Z"}
{"stage":"ResponseComplete","verb":"patch","objectRef":{"resource":"canaries","namespace":"a","subresource":"status"},"requestReceivedTimestamp":"2026-01-01T00:00:02.000000Z"}
{"stage":"ResponseComplete","verb":"get","objectRef":{"resource":"services","namespace":"b"},"requestReceivedTimestamp":"2026-01-01T00:00:02.000000Z"}
{"stage":"ResponseComplete","verb":"update","objectRef":{"resource":"leases","namespace":"a"},"requestReceivedTimestamp":"2026-01-01T00:00:02.000000Z"}
{"stage":"ResponseComplete","verb":"get","objectRef":{"resource":"services","namespace":"a"},"requestReceivedTimestamp":"2026-01-01T00:00:09.000000Z"}
{"stage":"Respon"#;

    #[tokio::test]
    async fn requests_are_counted_by_namespace_and_time() {
        let file = std::env::temp_dir().join(format!("audit-{}.jsonl", std::process::id()));
        std::fs::write(&file, LOG).unwrap();
        let from = "2026-01-01T00:00:00Z".parse().unwrap();
        let to = "2026-01-01T00:00:05Z".parse().unwrap();
        let counted = AuditLog::new(file.clone()).count("a", from, to).await.unwrap();
        std::fs::remove_file(file).unwrap();
        let expected = Requests {
            reads: BTreeMap::new(),
            writes: BTreeMap::from([("patch canaries/status".to_owned(), 1)]),
            watches: 1,
            leases: 1,
        };
        assert_eq!(counted, expected);
    }
}
