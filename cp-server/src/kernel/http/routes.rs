//! The table of operations. Each line yields its route, its OpenAPI operation, its authorization
//! and its tests.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};

use crate::kernel::access::caller::Permission;
use crate::kernel::access::place::{Exposure, PathTarget};
use crate::kernel::app::{App, Part};
use crate::kernel::declaration::{self, Declaration};
use crate::kernel::effect::Effect;
use crate::kernel::error::Result;
use crate::kernel::http::answer::Output;
use crate::kernel::http::endpoint::serve;
use crate::kernel::http::erased::{AnyOperation, Typed};
use crate::kernel::http::line::{Line, Protocol, Shapes};
use crate::kernel::http::operation::{Args, Op};
use crate::kernel::http::raw::{Raw, RawOperation, serve_raw};
use crate::kernel::http::reading::Readers;

/// Declares a slice's lines: `pub fn routes(&mut Routes)`, and after `declares` its tables. The doc
/// comment of the slice describes the resource; one file of a slice has it.
///
/// The first line of the doc comment is the summary. `<slice>.<function>`, or the string after `as`, is the
/// name that clients, audit events and metrics use. Modes after the function state how the line is served: `own_transaction`,
/// `unaudited`, `conditional_audit`, `grants` (see [`Line::grants`]), `raw` or `root`. A `raw` line renders its own
/// response, such as a stream; with `platform`, callers of the platform only. A `root` line is raw and outside
/// [`BASE`](crate::kernel::http::line::BASE). After either of these, `redirect` sends a browser
/// elsewhere, and `strict` limits strangers (see [`Line::strict`]). A GET line that may write has
/// `may_write`. A `throughout` line requires its permission in the whole organization. Changes of one object on
/// `in_turn` lines wait for each other. The credential of a `keyed` line is the body's member `key`. `unmetered` exempts the line from the plan's request quota. Only programs call a
/// `machine` line, so the console has no form for it. Changes of a `harmless`
/// line invalidate no cache of rights, and changes of a `local` line only what depends on their
/// organization. After a change of a `reloads` line, parts read the database
/// again.
#[macro_export]
macro_rules! routes {
    (@serve $line:expr, $op:ident, raw) => { $line.raw($op) };
    (@serve $line:expr, $op:ident, raw, platform) => { $line.platform().raw($op) };
    (@serve $line:expr, $op:ident, raw, redirect) => { $line.redirect().raw($op) };
    (@serve $line:expr, $op:ident, raw, redirect, strict) => { $line.redirect().strict().raw($op) };
    (@serve $line:expr, $op:ident, raw, redirect, may_write, strict) => {
        $line.redirect().may_write().strict().raw($op)
    };
    (@serve $line:expr, $op:ident, raw, strict) => { $line.strict().raw($op) };
    (@serve $line:expr, $op:ident, root, strict) => { $line.root().strict().raw($op) };
    (@serve $line:expr, $op:ident, root) => { $line.root().raw($op) };
    (@serve $line:expr, $op:ident $(, $mode:ident)*) => { $line$(.$mode())*.json($op) };
    (@name $slice:ident $op:ident) => { concat!(stringify!($slice), ".", stringify!($op)) };
    (@name $slice:ident $op:ident $name:literal) => { $name };
    ($(#[doc = $about:literal])* $slice:ident $(declares $($declaration:ident),+)?: $(
        $(#[doc = $doc:literal])+
        $method:ident $path:literal $permission:ident => $op:ident $(as $name:literal)? $(, $mode:ident)*
        $(returns $media_type:literal)?;
    )+) => {
        /// The number of permissions that these tables declare.
        pub const DECLARED_PERMISSIONS: usize = 0 $($(+ $declaration.permissions.len())+)?;
        pub fn routes(r: &mut $crate::kernel::http::routes::Routes) {
            r.describe(stringify!($slice), concat!("", $($about),*));
            $($(r.declare(&$declaration);)+)?
            $($crate::routes!(@serve r.line(
                $crate::routes!(@name $slice $op $($name)?),
                concat!($($doc, "\n"),+),
                axum::http::Method::$method,
                $path,
                $crate::kernel::access::caller::Permission::$permission,
            )$(.returns($media_type))?, $op $(, $mode)*);)+
        }
    };
}

/// The table under construction.
#[derive(Default)]
pub struct Routes {
    pub table: Vec<Line>,
    /// The tables of the slices.
    pub declarations: Vec<&'static Declaration>,
    /// The descriptions of the slices, by their names.
    pub descriptions: BTreeMap<&'static str, &'static str>,
    router: Router<App>,
    readers: HashMap<&'static str, Arc<dyn AnyOperation>>,
    /// The same map for the handlers, which exist before it is complete.
    complete: Readers,
}

/// The function that builds the table of operations: the composition adds it, and `server` calls
/// it.
#[derive(Clone, Copy)]
pub struct Operations(fn() -> Routes);

impl Part for Operations {}

impl Operations {
    /// Publishes what the slices declare: an application looks it up from its first moment.
    pub fn new(build: fn() -> Routes) -> Self {
        if !declaration::is_published() {
            build().published();
        }
        Self(build)
    }

    pub fn build(&self) -> Routes {
        (self.0)()
    }
}

impl Routes {
    /// Begins a line; only `routes!` calls this.
    pub fn line(
        &mut self,
        name: &'static str,
        doc: &'static str,
        method: Method,
        path: &'static str,
        permission: Permission,
    ) -> Adding<'_> {
        Adding { line: Line::new(name, doc, method, path, permission), routes: self }
    }

    /// Describes a slice; only `routes!` calls this.
    pub fn describe(&mut self, slice: &'static str, about: &'static str) {
        if !about.is_empty() {
            self.descriptions.insert(slice, about.trim());
        }
    }

    /// Adds the declaration of a table.
    pub fn declare(&mut self, declaration: &'static Declaration) {
        self.declarations.push(declaration);
    }

    /// Publishes the declarations to the parts of the kernel that look them up.
    ///
    /// # Panics
    /// When a line requires a permission that no slice declares: no caller could hold it.
    pub fn published(self) -> Self {
        declaration::publish(&self.declarations);
        let known = Permission::all();
        for line in &self.table {
            let is_known = line.permission == Permission::PUBLIC
                || line.permission == Permission::ANY
                || known.contains(&line.permission);
            assert!(
                is_known,
                "{} requires {:?}, which no slice declares",
                line.name, line.permission
            );
        }
        self
    }

    pub fn into_router(self, app: App) -> Router {
        // The only writer: the cell is not shared before the router serves.
        let _ = self.complete.set(self.readers);
        self.router.with_state(app)
    }
}

/// A line under construction.
pub struct Adding<'r> {
    routes: &'r mut Routes,
    line: Line,
}

impl Adding<'_> {
    #[must_use]
    pub fn own_transaction(mut self) -> Self {
        self.line.own_transaction = true;
        self
    }

    /// Exempts the line from auditing. It records what happened elsewhere and grants nothing: an
    /// event for each record would duplicate it.
    #[must_use]
    pub fn unaudited(mut self) -> Self {
        self.line.audited = false;
        self
    }

    /// Lets the operation decide about its audit event. An event is the default.
    #[must_use]
    pub fn conditional_audit(mut self) -> Self {
        self.line.conditional_audit = true;
        self
    }

    /// Marks a line that grants permissions.
    #[must_use]
    pub fn grants(mut self) -> Self {
        self.line.grants = true;
        self
    }

    /// Requires the permission in the whole organization, and not only in a part of it.
    #[must_use]
    pub fn throughout(mut self) -> Self {
        self.line.throughout = true;
        self
    }

    /// Marks a line whose changes of one object lock the same row, as those of other such lines do.
    #[must_use]
    pub fn in_turn(mut self) -> Self {
        self.line.in_turn = true;
        self
    }

    #[must_use]
    pub fn may_write(mut self) -> Self {
        self.line.may_write = true;
        self
    }

    #[must_use]
    pub fn redirect(mut self) -> Self {
        self.line.status = StatusCode::SEE_OTHER;
        self
    }

    #[must_use]
    pub fn strict(mut self) -> Self {
        self.line.strict = true;
        self
    }

    /// Restricts a raw line to callers that hold the permission on the platform.
    #[must_use]
    pub fn platform(mut self) -> Self {
        self.line.exposure = Exposure::Platform;
        self
    }

    /// Marks a public line whose credential is the member `key` of the body.
    #[must_use]
    pub fn keyed(mut self) -> Self {
        self.line.keyed = true;
        self
    }

    /// Marks a line whose changes affect no rights, quotas or keys of callers: their caches stay
    /// valid.
    #[must_use]
    pub fn harmless(mut self) -> Self {
        self.line.effect = Effect::Harmless;
        self
    }

    /// Marks a line whose changes affect rights and quotas in the organization of its path only, and
    /// who belongs to it stays.
    #[must_use]
    pub fn local(mut self) -> Self {
        self.line.effect = Effect::Organization;
        self
    }

    /// Marks a line whose changes affect state that parts loaded: they reload it before the
    /// response is sent.
    #[must_use]
    pub fn reloads(mut self) -> Self {
        self.line.effect = Effect::Parts;
        self
    }

    /// Marks a line that only programs call: the console has no form for it.
    #[must_use]
    pub fn machine(mut self) -> Self {
        self.line.machine = true;
        self
    }

    /// Exempts the line from the request quota: data planes call it on behalf of the vendor's own
    /// product.
    #[must_use]
    pub fn unmetered(mut self) -> Self {
        self.line.metered = false;
        self
    }

    /// Renders the line's responses in the form of a standard.
    #[must_use]
    pub fn in_protocol(mut self, protocol: &'static Protocol) -> Self {
        self.line.protocol = Some(protocol);
        self
    }

    #[must_use]
    pub fn returns(mut self, media_type: &'static str) -> Self {
        self.line.media_type = Some(media_type);
        self
    }

    #[must_use]
    pub fn root(mut self) -> Self {
        self.line.root = true;
        self
    }

    /// Adds an operation with the eight steps.
    pub fn json<A: Args, R: Output>(mut self, op: impl for<'a> Op<'a, A, R>) {
        let line = &mut self.line;
        line.exposure = A::PathTarget::EXPOSURE;
        line.areas = A::PathTarget::AREAS;
        line.shapes = |schemas, in_query| Shapes {
            parameters: A::PathTarget::parameters(),
            input: A::schema(schemas, in_query),
            output: R::schema(schemas),
        };
        line.body_limit = A::BODY_LIMIT;
        line.status = R::STATUS;
        line.also = R::ALSO;
        self.served(Arc::new(Typed::new(op)));
    }

    fn served(self, operation: Arc<dyn AnyOperation>) {
        let Self { routes, line } = self;
        if line.reads() {
            routes.readers.insert(line.path, operation.clone());
        }
        let (readers, shared) = (routes.complete.clone(), Arc::new(line.clone()));
        let handler = move |State(app): State<App>, request: Request| async move {
            let answer = serve(shared, operation, readers, app, request).await;
            answer.unwrap_or_else(IntoResponse::into_response)
        };
        routes.router = std::mem::take(&mut routes.router)
            .route(&line.full_path(), on(filter(&line.method), handler));
        routes.table.push(line);
    }

    /// Adds an operation that renders its own response.
    pub fn raw<F, X>(self, op: F)
    where
        F: Fn(Raw) -> X + Copy + Send + Sync + 'static,
        X: Future<Output = Result<Response>> + Send + 'static,
    {
        // On the heap: the future of every request of the router would be as large.
        self.served_raw(Arc::new(move |raw| Box::pin(op(raw))));
    }

    fn served_raw(mut self, operation: RawOperation) {
        self.line.raw = true;
        let is_of_platform = self.line.exposure == Exposure::Platform;
        self.line.exposure = match self.line.permission {
            Permission::PUBLIC => Exposure::Public,
            _ if is_of_platform => Exposure::Platform,
            _ => Exposure::Anywhere,
        };
        let Self { routes, line } = self;
        let shared = Arc::new(line.clone());
        let handler = move |State(app): State<App>, request: Request| async move {
            let answer = serve_raw(&shared, &operation, app, request).await;
            answer.unwrap_or_else(IntoResponse::into_response)
        };
        routes.router = std::mem::take(&mut routes.router)
            .route(&line.full_path(), on(filter(&line.method), handler));
        routes.table.push(line);
    }
}

fn filter(method: &Method) -> MethodFilter {
    MethodFilter::try_from(method.clone()).expect("the table names standard methods")
}
