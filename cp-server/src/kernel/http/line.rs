//! One line of the table of operations.

use axum::http::{Method, StatusCode};
use schemars::{Schema, SchemaGenerator};

use crate::kernel::access::areas::AreaKind;
use crate::kernel::access::permissions::Permission;
use crate::kernel::access::place::Exposure;
use crate::kernel::effect::Effect;

/// The largest request body, in bytes, unless an input says otherwise.
pub const BODY_LIMIT: usize = 256 * 1024;

/// Where the API lives.
pub const BASE: &str = "/api/v1";

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Line {
    /// `<slice>.<function>`: operation id, audit action, metric label, CLI verb.
    pub name: &'static str,
    pub doc: &'static str,
    pub method: Method,
    /// Below [`BASE`], unless the line is at the root.
    pub path: &'static str,
    pub permission: Permission,
    pub exposure: Exposure,
    /// In which areas of an organization its place can lie.
    pub areas: &'static [AreaKind],
    pub(in crate::kernel) shapes: fn(&mut SchemaGenerator, bool) -> Shapes,
    pub status: StatusCode,
    /// Another status of success.
    pub also: Option<StatusCode>,
    /// A raw line renders its own answer, which need not be JSON.
    pub raw: bool,
    pub own_transaction: bool,
    pub root: bool,
    /// Whether a change leaves an audit event, and answers that are remembered are forgotten.
    pub audited: bool,
    /// Whether it gives somebody permissions, or lets somebody act as a user: it refuses what the
    /// caller does not hold.
    pub grants: bool,
    /// Whether a read may find something to write: it is completed like a change then.
    pub may_write: bool,
    /// Whether strangers may ask for it only as often as they may guess a credential.
    pub strict: bool,
    /// Whether its requests count towards the plan's quota of requests.
    pub metered: bool,
    /// What a change makes old on its replica.
    pub effect: Effect,
    /// The largest body, in bytes.
    pub body_limit: usize,
}

/// The schemas of what a line takes and gives.
#[derive(Debug, Default)]
pub struct Shapes {
    /// Of the path's parameters, in their order.
    pub parameters: Vec<Schema>,
    pub input: Option<Schema>,
    pub output: Option<Schema>,
}

impl Line {
    /// Made when somebody asks: a server hardly ever does, and there are many.
    pub fn shapes(&self, schemas: &mut SchemaGenerator) -> Shapes {
        (self.shapes)(schemas, self.in_query())
    }

    /// The path with its base.
    pub fn full_path(&self) -> String {
        if self.root { self.path.to_owned() } else { format!("{BASE}{}", self.path) }
    }

    pub fn reads(&self) -> bool {
        self.method == Method::GET
    }

    /// Whether a request runs to its end when its client is gone.
    pub(in crate::kernel) fn completes(&self) -> bool {
        !self.reads() || self.may_write
    }

    /// Whether the input is the query string; it is the body otherwise.
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
            grants: false,
            may_write: false,
            strict: false,
            metered: true,
            effect: Effect::Rights,
            body_limit: BODY_LIMIT,
        }
    }
}
