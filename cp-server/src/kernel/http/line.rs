//! One line of the table of operations.

use axum::http::{Method, StatusCode};
use cp_contracts::Problem;
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

use crate::kernel::access::areas::AreaKind;
use crate::kernel::access::permissions::Permission;
use crate::kernel::access::place::Exposure;
use crate::kernel::effect::Effect;

/// The default limit of a request body, in bytes.
pub const BODY_LIMIT: usize = 256 * 1024;

/// The path prefix of the API.
pub const BASE: &str = "/api/v1";

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Line {
    /// `<slice>.<function>`: operation ID, audit action, metric label, CLI verb.
    pub name: &'static str,
    pub doc: &'static str,
    pub method: Method,
    /// The path below [`BASE`], unless the line is at the root.
    pub path: &'static str,
    pub permission: Permission,
    pub exposure: Exposure,
    /// The kinds of areas of an organization that the path's target may be in.
    pub areas: &'static [AreaKind],
    pub(in crate::kernel) shapes: fn(&mut SchemaGenerator, bool) -> Shapes,
    pub status: StatusCode,
    /// A second status of success.
    pub also: Option<StatusCode>,
    /// Whether the line renders its own response, which need not be JSON.
    pub raw: bool,
    pub own_transaction: bool,
    pub root: bool,
    /// Whether a change leaves an audit event and invalidates cached responses.
    pub audited: bool,
    /// Whether the operation decides about its audit event: with
    /// [`AuditDraft::omit`](crate::kernel::journal::draft::AuditDraft::omit) it leaves none.
    pub conditional_audit: bool,
    /// Whether the line grants permissions, or lets a caller act as a user: it refuses rights that
    /// the caller does not hold.
    pub grants: bool,
    /// Whether the permission counts only in the whole organization: a caller that holds it in a part,
    /// such as a deployment's token, is refused.
    pub throughout: bool,
    /// Whether the changes of the object of the path lock the same row: they wait for each other.
    pub in_turn: bool,
    /// Whether a read may also write: then it completes like a change.
    pub may_write: bool,
    /// Whether callers without a credential are limited as strictly as attempts to guess one.
    pub strict: bool,
    /// Whether the credential is the member `key` of the body. Admission follows the body then.
    pub keyed: bool,
    /// Whether only programs call the line: the console has no form for it, and a deployment's token
    /// is not charged to the rate of its organization.
    pub machine: bool,
    /// Whether requests count towards the plan's request quota.
    pub metered: bool,
    /// The media type of a raw line's answer; `None` for one without a body.
    pub media_type: Option<&'static str>,
    /// The standard that decides the form of the line's responses, if it is not this API's own.
    pub protocol: Option<&'static Protocol>,
    /// The caches that a change invalidates.
    pub effect: Effect,
    /// The largest body, in bytes.
    pub body_limit: usize,
}

/// A standard that decides the form of responses, for the clients that speak it.
#[derive(Debug)]
pub struct Protocol {
    /// The name in the OpenAPI document.
    pub name: &'static str,
    /// The media type of all responses.
    pub media_type: &'static str,
    /// Returns the status and the body of a refusal.
    pub refusal: fn(&Problem) -> (u16, Value),
    /// Returns the schema of a refusal.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
}

/// The schemas of a line's input and output.
#[derive(Debug, Default)]
pub struct Shapes {
    /// The schemas of the path parameters, in order.
    pub parameters: Vec<Schema>,
    pub input: Option<Schema>,
    pub output: Option<Schema>,
}

impl Line {
    /// Builds the schemas on demand: there are many, and a server rarely needs them.
    pub fn shapes(&self, schemas: &mut SchemaGenerator) -> Shapes {
        (self.shapes)(schemas, self.in_query())
    }

    /// Returns the path including its base.
    pub fn full_path(&self) -> String {
        if self.root { self.path.to_owned() } else { format!("{BASE}{}", self.path) }
    }

    pub fn reads(&self) -> bool {
        self.method == Method::GET
    }

    /// Whether a request completes when its client disconnects.
    pub(in crate::kernel) fn completes(&self) -> bool {
        !self.reads() || self.may_write
    }

    /// Returns the part of the path that names its object.
    pub(in crate::kernel) fn object(&self) -> &'static str {
        self.path.rfind('}').map_or("", |end| &self.path[..=end])
    }

    /// Whether the input is the query string; otherwise it is the body.
    pub fn in_query(&self) -> bool {
        matches!(self.method, Method::GET | Method::DELETE)
    }

    pub(in crate::kernel) fn new(
        name: &'static str,
        doc: &'static str,
        method: Method,
        path: &'static str,
        permission: Permission,
    ) -> Self {
        Self {
            name,
            doc,
            method,
            path,
            permission,
            exposure: Exposure::Public,
            areas: &[],
            shapes: |_, _| Shapes::default(),
            status: StatusCode::OK,
            also: None,
            raw: false,
            own_transaction: false,
            root: false,
            audited: true,
            conditional_audit: false,
            grants: false,
            throughout: false,
            in_turn: false,
            may_write: false,
            strict: false,
            keyed: false,
            machine: false,
            metered: true,
            media_type: None,
            protocol: None,
            effect: Effect::Rights,
            body_limit: BODY_LIMIT,
        }
    }
}
