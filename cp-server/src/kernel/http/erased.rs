//! Operations and places without their types: the steps of a request are compiled once for all of
//! them.

use std::any::Any;
use std::marker::PhantomData;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::kernel::access::caller::{Caller, Permission, Scope};
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::access::place::{Authorized, PathTarget};
use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{Answer, Output};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::operation::{Args, Op, Source};

/// An operation, with its types inside.
pub(in crate::kernel) trait AnyOperation: Send + Sync {
    /// Returns the place that the path names, or that it names nothing: its IDs cannot be parsed.
    fn place(&self, parts: &mut Parts) -> Result<Box<dyn AnyTarget>>;
    /// Whether the operation creates a thing, so that there is no state before it.
    fn makes(&self) -> bool;
    /// Reads the input and runs. The answer has its form in the audit event if `is_audited`, and the
    /// operation wrote.
    fn run<'a>(
        &'a self,
        cx: Cx<Scope>,
        place: &'a dyn AnyTarget,
        source: Source<'a>,
        is_audited: bool,
    ) -> BoxFuture<'a, (Cx<Scope>, Result<Answer>)>;
}

/// A path target, with its type inside.
pub(in crate::kernel) trait AnyTarget: Any + Send + Sync {
    fn authorize<'a>(
        &'a self,
        caller: &'a Caller,
        tx: &'a mut Conn,
        permission: Permission,
    ) -> BoxFuture<'a, Result<Scope>>;
    fn owner<'a>(&'a self, tx: &'a mut Conn) -> BoxFuture<'a, Result<Option<OrganizationId>>>;
    fn target(&self, at: Scope) -> (&'static str, String);
}

impl<P: PathTarget> AnyTarget for P {
    fn authorize<'a>(
        &'a self,
        caller: &'a Caller,
        tx: &'a mut Conn,
        permission: Permission,
    ) -> BoxFuture<'a, Result<Scope>> {
        Box::pin(async move {
            PathTarget::authorize(self, caller, tx, permission).await.map(Authorized::scope)
        })
    }
    fn owner<'a>(&'a self, tx: &'a mut Conn) -> BoxFuture<'a, Result<Option<OrganizationId>>> {
        Box::pin(PathTarget::owner(self, tx))
    }
    fn target(&self, at: Scope) -> (&'static str, String) {
        PathTarget::target(self, Authorized::of(at))
    }
}

/// A function of the table, with its arguments `A` and its answer `R`.
pub(in crate::kernel) struct Typed<F, A, R>(F, PhantomData<fn(A) -> R>);

impl<F, A, R> Typed<F, A, R> {
    pub(in crate::kernel) fn new(op: F) -> Self {
        Self(op, PhantomData)
    }
}

impl<F, A: Args, R: Output> AnyOperation for Typed<F, A, R>
where
    F: for<'a> Op<'a, A, R>,
{
    fn place(&self, parts: &mut Parts) -> Result<Box<dyn AnyTarget>> {
        // The router has found the values: the extractor waits for nothing.
        let path = Path::<A::PathTarget>::from_request_parts(parts, &()).now_or_never();
        match path {
            Some(Ok(Path(place))) => Ok(Box::new(place)),
            // An ID that cannot be parsed does not exist.
            _ => Err(Error::not_found(A::PathTarget::noun())),
        }
    }

    fn makes(&self) -> bool {
        R::MAKES
    }

    fn run<'a>(
        &'a self,
        cx: Cx<Scope>,
        place: &'a dyn AnyTarget,
        source: Source<'a>,
        is_audited: bool,
    ) -> BoxFuture<'a, (Cx<Scope>, Result<Answer>)> {
        let place: &dyn Any = place;
        let place = place.downcast_ref::<A::PathTarget>().cloned();
        let args = place.ok_or_else(|| Error::internal(anyhow::anyhow!("the place of another")));
        let args = args.and_then(|place| A::read(place, source));
        Box::pin(async move {
            let args = match args {
                Ok(args) => args,
                Err(error) => return (cx, Err(error)),
            };
            let at = Authorized::of(cx.at);
            let mut cx = cx.moved(at);
            let answer = self.0.run(&mut cx, args).await;
            let is_audited = is_audited && cx.tx.writes();
            let answer = answer.and_then(|answer| answer.answer(is_audited));
            let scope = cx.at.scope();
            (cx.moved(scope), answer)
        })
    }
}
