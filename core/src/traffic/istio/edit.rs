//! A JSON Patch in the making, and the document as it stands after the operations so far.
//!
//! Both grow together, so that positions in lists always mean what they mean when the API server applies the patch.
//! Invariant: an operation that replaces or removes something is preceded by a `test` of what it replaces.

use crate::pointer::At;
use json_patch::{
    AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation, TestOperation,
    jsonptr::PointerBuf,
};
use serde_json::{Value, json};

use super::RouteError;

const VERSION: &str = "/metadata/resourceVersion";

pub(super) struct Edit {
    doc: Value,
    version: Value,
    operations: Vec<PatchOperation>,
}

impl Edit {
    /// Starts from `object`, which must come from the API server: without its resourceVersion no patch is safe.
    pub(super) fn new(object: &Value) -> Result<Edit, RouteError> {
        let version = object.at(VERSION).filter(|v| v.is_string()).cloned();
        let version = version.ok_or_else(|| RouteError::malformed(VERSION))?;
        Ok(Edit {
            doc: object.clone(),
            version,
            operations: Vec::new(),
        })
    }

    /// The document after the operations so far.
    pub(super) fn doc(&self) -> &Value {
        &self.doc
    }

    /// Demands that the value at `path` is still what it was read as.
    pub(super) fn expect(&mut self, path: &str) -> Result<(), RouteError> {
        let value = self
            .doc
            .at(path)
            .cloned()
            .ok_or_else(|| RouteError::malformed(path))?;
        let test = PatchOperation::Test(TestOperation {
            path: pointer(path)?,
            value,
        });
        if self.operations.last() != Some(&test) {
            self.operations.push(test);
        }
        Ok(())
    }

    /// Puts `value` at `path`, which names a key of an object; does nothing if it is there already.
    pub(super) fn set(&mut self, path: &str, value: Value) -> Result<(), RouteError> {
        match self.doc.at(path) {
            Some(present) if *present == value => Ok(()),
            Some(_) => {
                self.expect(path)?;
                self.apply(PatchOperation::Replace(ReplaceOperation {
                    path: pointer(path)?,
                    value,
                }))
            }
            None => self.insert(path, value),
        }
    }

    /// Adds `value` at `path`, a new key or a position in a list.
    pub(super) fn insert(&mut self, path: &str, value: Value) -> Result<(), RouteError> {
        self.apply(PatchOperation::Add(AddOperation {
            path: pointer(path)?,
            value,
        }))
    }

    /// Removes what is at `path`.
    pub(super) fn remove(&mut self, path: &str) -> Result<(), RouteError> {
        self.expect(path)?;
        self.apply(PatchOperation::Remove(RemoveOperation { path: pointer(path)? }))
    }

    /// Sets an annotation.
    pub(super) fn annotate(&mut self, key: &str, value: &str) -> Result<(), RouteError> {
        const ANNOTATIONS: &str = "/metadata/annotations";
        if self.doc.at(ANNOTATIONS).is_some_and(Value::is_object) {
            self.set(&format!("{ANNOTATIONS}/{}", escape(key)), json!(value))
        } else {
            self.set(ANNOTATIONS, json!({ key: value }))
        }
    }

    /// Whether there is anything to write.
    pub(super) fn changed(&self) -> bool {
        !self.operations.is_empty()
    }

    /// The finished patch; empty if nothing has to change.
    pub(super) fn finish(self) -> Result<Patch, RouteError> {
        if self.operations.is_empty() {
            return Ok(Patch(Vec::new()));
        }
        let mut all = vec![PatchOperation::Test(TestOperation {
            path: pointer(VERSION)?,
            value: self.version,
        })];
        all.extend(self.operations);
        Ok(Patch(all))
    }

    fn apply(&mut self, operation: PatchOperation) -> Result<(), RouteError> {
        let path = operation.path().to_string();
        json_patch::patch(&mut self.doc, std::slice::from_ref(&operation))
            .map_err(|_| RouteError::malformed(path))?;
        self.operations.push(operation);
        Ok(())
    }
}

/// `key` as one token of a JSON pointer.
pub(super) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn pointer(path: &str) -> Result<PointerBuf, RouteError> {
    PointerBuf::parse(path).map_err(|_| RouteError::malformed(path))
}
