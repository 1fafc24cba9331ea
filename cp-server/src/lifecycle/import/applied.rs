//! The effect of one line.

use serde::Serialize;
use serde_json::Value;

use crate::kernel::access::ids::OrganizationId;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Resource;

/// Members that every change of an object changes.
const VOLATILE: [&str; 4] = ["updated_at", "revision", "version", "heartbeat_at"];

/// The effect of a line on one object.
pub struct Applied {
    /// The ID of the object; the code of a plan.
    pub id: String,
    /// `None` for an object that already has the values of the line.
    pub change: Option<Change>,
    /// Whether the transaction has writes of the line.
    pub has_written: bool,
}

/// A change, as its audit event has it.
pub struct Change {
    pub action: &'static str,
    pub organization: Option<OrganizationId>,
    pub target: (&'static str, String),
    /// The object before; `None` for a new one.
    pub before: Option<Value>,
    pub after: Value,
    pub reason: Option<String>,
}

impl Applied {
    pub fn unchanged(id: impl ToString) -> Self {
        Self { id: id.to_string(), change: None, has_written: false }
    }

    pub fn created<T: Resource>(
        action: &'static str,
        organization: Option<OrganizationId>,
        made: &T,
    ) -> Result<Self> {
        let (id, after) = (made.name(), json_of(made)?);
        let target = (T::NOUN, id.clone());
        let change = Change { action, organization, target, before: None, after, reason: None };
        Ok(Self { id, change: Some(change), has_written: true })
    }

    /// Returns the effect of an operation that has changed the object. It may have written the values
    /// that the object had.
    pub fn changed<T: Resource>(
        action: &'static str,
        organization: Option<OrganizationId>,
        before: Value,
        now: &T,
    ) -> Result<Self> {
        let (id, after) = (now.name(), json_of(now)?);
        if stable(before.clone()) == stable(after.clone()) {
            return Ok(Self { id, change: None, has_written: true });
        }
        let (target, before) = ((T::NOUN, id.clone()), Some(before));
        let change = Change { action, organization, target, before, after, reason: None };
        Ok(Self { id, change: Some(change), has_written: true })
    }
}

/// Returns an object as the API shows it.
pub fn json_of(object: &impl Serialize) -> Result<Value> {
    serde_json::to_value(object).map_err(Error::internal)
}

fn stable(mut object: Value) -> Value {
    if let Some(members) = object.as_object_mut() {
        members.retain(|name, _| !VOLATILE.contains(&name.as_str()));
    }
    object
}
