//! Operations: plain functions, and their inputs.

use std::future::Future;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;

use crate::kernel::access::place::PathTarget;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::kernel::http::{json, line};

/// An operation: `async fn(&mut Cx, PathTarget[, Input]) -> Result<Output>`.
pub trait Op<'a, A: Args, R>: Copy + Send + Sync + 'static {
    type Answer: Future<Output = Result<R>> + Send + 'a;
    fn run(self, cx: &'a mut Cx<GroundOf<A>>, args: A) -> Self::Answer;
}

impl<'a, F, X, P, R> Op<'a, (P,), R> for F
where
    P: PathTarget,
    F: Fn(&'a mut Cx<P::Authorized>, P) -> X + Copy + Send + Sync + 'static,
    X: Future<Output = Result<R>> + Send + 'a,
{
    type Answer = X;
    fn run(self, cx: &'a mut Cx<P::Authorized>, (place,): (P,)) -> X {
        self(cx, place)
    }
}

impl<'a, F, X, P, I, R> Op<'a, (P, I), R> for F
where
    P: PathTarget,
    I: Input,
    F: Fn(&'a mut Cx<P::Authorized>, P, I) -> X + Copy + Send + Sync + 'static,
    X: Future<Output = Result<R>> + Send + 'a,
{
    type Answer = X;
    fn run(self, cx: &'a mut Cx<P::Authorized>, (place, input): (P, I)) -> X {
        self(cx, place, input)
    }
}

pub type GroundOf<A> = <<A as Args>::PathTarget as PathTarget>::Authorized;

/// The arguments of an operation after its context.
pub trait Args: Sized + Send + 'static {
    type PathTarget: PathTarget;
    const BODY_LIMIT: usize = line::BODY_LIMIT;
    fn schema(generator: &mut SchemaGenerator, in_query: bool) -> Option<Schema>;
    fn read(place: Self::PathTarget, source: Source<'_>) -> Result<Self>;
}

/// The source of an input.
pub enum Source<'r> {
    /// A query string, and what it is about: the path of the line, and the target of the request.
    Query {
        query: &'r str,
        about: &'r str,
    },
    Body(&'r [u8]),
}

impl<P: PathTarget> Args for (P,) {
    type PathTarget = P;
    fn schema(_: &mut SchemaGenerator, _: bool) -> Option<Schema> {
        None
    }
    fn read(place: P, _: Source<'_>) -> Result<Self> {
        Ok((place,))
    }
}

impl<P: PathTarget, I: Input> Args for (P, I) {
    type PathTarget = P;
    const BODY_LIMIT: usize = I::BODY_LIMIT;
    fn schema(generator: &mut SchemaGenerator, in_query: bool) -> Option<Schema> {
        Some(I::schema(generator, in_query))
    }
    fn read(place: P, source: Source<'_>) -> Result<Self> {
        let input = match source {
            Source::Query { query, about } => {
                let pairs = url::form_urlencoded::parse(query.as_bytes());
                I::from_query(pairs.into_owned().collect(), about)?
            }
            // An empty body is an object without members.
            Source::Body(b"") => I::from_body(b"{}")?,
            Source::Body(body) => I::from_body(body)?,
        };
        Ok((place, input))
    }
}

/// The input of a request: the query string of GET and DELETE, the body of other methods. Their
/// query string adds members to the body.
pub trait Input: Sized + Send + 'static {
    /// The largest body, in bytes.
    const BODY_LIMIT: usize = line::BODY_LIMIT;
    /// Reads a query string about something, such as the list of an organization's groups.
    fn from_query(pairs: Vec<(String, String)>, about: &str) -> Result<Self>;
    fn from_body(body: &[u8]) -> Result<Self>;
    /// Returns the schema. A query is described member by member, so its schema is never a
    /// reference.
    fn schema(generator: &mut SchemaGenerator, in_query: bool) -> Schema;
}

impl<I: DeserializeOwned + JsonSchema + Send + 'static> Input for I {
    fn from_query(pairs: Vec<(String, String)>, _: &str) -> Result<Self> {
        json::read_query(&pairs)
    }
    fn from_body(body: &[u8]) -> Result<Self> {
        json::read(body)
    }
    fn schema(generator: &mut SchemaGenerator, in_query: bool) -> Schema {
        if in_query { I::json_schema(generator) } else { generator.subschema_for::<I>() }
    }
}
