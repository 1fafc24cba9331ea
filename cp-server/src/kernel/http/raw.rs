//! Operations that render their own responses, such as streams.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::request::Parts;
use axum::response::Response;
use futures_util::future::BoxFuture;

use crate::kernel::access::admission;
use crate::kernel::access::caller::{Caller, Scope};
use crate::kernel::access::place::Exposure;
use crate::kernel::app::App;
use crate::kernel::completion::{Deadline, to_the_end};
use crate::kernel::error::Result;
use crate::kernel::http::line::Line;
use crate::kernel::traces::{Span, Tracing};

/// The input of a raw line.
pub struct Raw {
    pub app: App,
    pub caller: Caller,
    /// The scope in which the caller holds the permission.
    pub scope: Scope,
    pub parts: Parts,
    pub body: axum::body::Body,
}

/// An operation that renders its own response.
pub(super) type RawOperation =
    Arc<dyn Fn(Raw) -> BoxFuture<'static, Result<Response>> + Send + Sync>;

/// Serves one raw line: the operation does what follows the first steps.
pub(super) async fn serve_raw(
    line: &Line,
    operation: &RawOperation,
    app: App,
    request: Request,
) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let caller = admission::enter(&app, &parts, line).step("authenticate").await?;
    let scope = match line.exposure {
        Exposure::Public => Scope::Platform,
        Exposure::Platform => {
            caller.on_platform(line.permission)?;
            Scope::Platform
        }
        _ => caller.widest_scope(line.permission)?,
    };
    let named = async || Ok(scope.organization());
    admission::charge(&app, &caller, &parts, line, named).step("charge").await?;
    let deadline = Deadline::of(&parts);
    let span = Span::step("run");
    span.set("cp.operation", line.name);
    let answer = operation(Raw { app, caller, scope, parts, body }).recorded(span);
    match line.completes() {
        true => to_the_end(deadline.bounds(answer)).await,
        false => answer.await,
    }
}
