//! The web console: pages on the server, for the vendor's staff and for the admins of organizations.
//!
//! # Design
//! A page reaches data only through the table of operations, in this process
//! ([`in_process`](crate::kernel::http::in_process)). So the console cannot do what the API cannot.
//! The URL of a page is the path of the API with `/console` for `/api/v1`. Every line of the table has
//! generated pages; a few resources have pages by hand. Every page works without a script.

mod affected;
mod assets;
mod chart;
mod confirmations;
mod cookies;
mod diff;
mod entries;
mod filters;
mod form;
mod frame;
mod generic;
mod html;
mod icons;
mod input;
mod log_head;
mod pager;
mod pages;
mod refusals;
mod resources;
mod rows;
mod scene;
mod schema;
mod scopes;
mod selection;
mod sign_in;
mod templates;
mod verdict;
pub(crate) mod view;
mod words;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use cp_contracts::{Problem, ProblemCode};

use self::frame::IsPage;
use self::resources::{Descriptions, Resources};
use self::view::{Me, Page, Pages, View, pairs};
use crate::kernel::app::App;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::in_process::{Api, Seen};
use crate::kernel::http::line::Line;

/// The largest form, in bytes.
const FORM: usize = 256 * 1024;

/// The label of an answer in the metrics: the name of its page.
#[derive(Clone, Copy, Debug)]
pub struct PageName(pub &'static str);

/// The console of an application.
struct Console {
    api: Api,
    pages: Pages,
    table: Vec<Line>,
    descriptions: Descriptions,
    resources: OnceLock<Arc<Resources>>,
    generic: [Page; 2],
}

/// Adds the console to the router of the table.
///
/// # Panics
/// When a page names an operation that the table lacks.
pub fn over(
    app: &App,
    router: Router,
    table: &[Line],
    descriptions: BTreeMap<&'static str, &'static str>,
) -> Router {
    let api = Api::new(app.clone(), router.clone(), table);
    let mut all = Pages::default();
    sign_in::pages(&mut all);
    pages::all(&mut all);
    let page = |method: Method, run| {
        let (name, path, calls, is_public) = ("console.generic", "", &[][..], false);
        Page { name, method, path, calls, is_public, has_own_forms: true, run }
    };
    let console = Arc::new(Console {
        pages: all.checked(&api),
        api,
        table: table.to_vec(),
        descriptions,
        resources: OnceLock::new(),
        generic: [
            page(Method::GET, |view| Box::pin(generic::get(view))),
            page(Method::POST, |view| Box::pin(generic::post(view))),
        ],
    });
    let answer = move |request: Request| {
        let console = console.clone();
        // On the heap: a page's future is large, and every request of the router would hold it.
        Box::pin(async move { console.serve(request).await })
    };
    let base_path = app.settings.base_path().to_owned();
    let start = move |request: Request| {
        std::future::ready(match is_for_browser(&request) {
            true => to(&format!("{base_path}/console")),
            false => StatusCode::NOT_FOUND.into_response(),
        })
    };
    router
        .route("/", any(start))
        .route("/console", any(answer.clone()))
        .route("/console/", any(answer.clone()))
        .route("/console/{*path}", any(answer))
}

fn is_for_browser(request: &Request) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    matches!(*request.method(), Method::GET | Method::HEAD)
        && accept.is_some_and(|accept| accept.contains("text/html"))
}

impl Console {
    async fn serve(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let mut response =
            self.answer(parts, body).await.unwrap_or_else(IntoResponse::into_response);
        frame::secure(&mut response);
        response
    }

    fn resources(&self) -> Arc<Resources> {
        let read = || Arc::new(Resources::of(&self.table, &self.descriptions));
        self.resources.get_or_init(read).clone()
    }

    async fn answer(&self, parts: Parts, body: Body) -> Result<Response> {
        let path = parts.uri.path().strip_prefix("/console").unwrap_or_default();
        let path = path.trim_end_matches('/').to_owned();
        if let Some(name) = path.strip_prefix("/assets/") {
            let found = assets::serve(name, &parts.headers);
            return found.ok_or_else(|| Error::not_found("page"));
        }
        let method = match parts.method {
            Method::HEAD => Method::GET,
            Method::GET | Method::POST => parts.method.clone(),
            _ => return Ok(not_allowed()),
        };
        let query = pairs(parts.uri.query().unwrap_or_default().as_bytes());
        let (page, place) = match self.pages.find(&method, &path, &query) {
            Some(found) => found,
            None => (&self.generic[usize::from(method == Method::POST)], Vec::new()),
        };
        let parts = Arc::new(parts);
        let base = self.api.app.settings.base_path().to_owned();
        let theme = cookies::theme(&parts.headers);
        let ops = match self.api.enter(parts.clone(), page.is_public).await {
            Err(error) if *error.code() == ProblemCode::Unauthenticated => {
                let target =
                    parts.uri.path_and_query().map_or("/console", |target| target.as_str());
                if method == Method::GET {
                    let return_to = view::query([("return_to", target)]);
                    return Ok(to(&format!("{base}/console/sign-in?{return_to}")));
                }
                let entries = read_form(&parts.headers, body).await?;
                let secrets = self.resources().secrets(&path, page.calls);
                let url = format!("{base}{target}");
                return Ok(sign_in::kept(&base, theme, &url, &entries, &secrets));
            }
            ops => ops?,
        };
        let form = match method == Method::POST {
            true => read_form(&parts.headers, body).await?,
            false => Vec::new(),
        };
        let now = self.api.app.clock.now();
        let resources = self.resources();
        let mut view = View {
            ops,
            base,
            path,
            place,
            query,
            form,
            parts,
            now,
            resources,
            me: Me::default(),
            organization: None,
            cookies: Vec::new(),
        };
        if !page.is_public {
            let me: Seen<Me> = view.ops.read("me.read", &[], "").await?;
            view.me = me.value;
            // A person of one organization is always in it.
            if let (false, [only]) = (view.ops.caller.is_of_platform(), &*view.me.organizations) {
                view.organization = Some(only.clone());
            }
        }
        let mut response = match (page.run)(&mut view).await {
            Err(error) if page.is_public => return Err(error),
            Err(error) => view.refuse(error),
            Ok(response) => response,
        };
        response.extensions_mut().insert(PageName(page.name));
        Ok(response)
    }
}

/// Reads the entries of a form.
async fn read_form(headers: &HeaderMap, body: Body) -> Result<form::Entries> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    let bytes = axum::body::to_bytes(body, FORM).await.map_err(|_| {
        let detail = format!("The form must have at most {FORM} bytes.");
        Error::new(ProblemCode::TooLarge, detail)
    })?;
    if !bytes.is_empty() && !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        let detail = "Send the form as application/x-www-form-urlencoded.";
        return Err(Error::new(ProblemCode::UnsupportedMediaType, detail));
    }
    if !is_utf8(&bytes) {
        return Err(Error::bad_request("The form must be UTF-8."));
    }
    let entries = pairs(&bytes);
    if entries.iter().any(|(name, value)| name.contains('\0') || value.contains('\0')) {
        return Err(Error::bad_request("The form must not contain U+0000."));
    }
    Ok(entries)
}

/// Whether a form is UTF-8 behind its percent signs. The decoder puts U+FFFD in the place of other
/// bytes.
fn is_utf8(form: &[u8]) -> bool {
    let digit = |at: usize| form.get(at).and_then(|digit| char::from(*digit).to_digit(16));
    let (mut bytes, mut at) = (Vec::with_capacity(form.len()), 0);
    while let Some(byte) = form.get(at) {
        let escaped = match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => u8::try_from(high * 16 + low).ok(),
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    std::str::from_utf8(&bytes).is_ok()
}

fn to(url: &str) -> Response {
    let url = HeaderValue::try_from(url).unwrap_or(HeaderValue::from_static("/console"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, url)]).into_response()
}

fn not_allowed() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD, POST")]).into_response()
}

/// A request below `/console` that prefers pages to JSON.
pub struct Asked {
    theme: Option<&'static str>,
}

impl Asked {
    /// Returns the request's wish; `None` for other paths, and for a client that prefers JSON.
    pub fn of(request: &Request) -> Option<Self> {
        let path = request.uri().path();
        let is_below = path == "/console" || path.starts_with("/console/");
        let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
        let accept = accept.unwrap_or_default();
        let prefers_json = accept.contains("json") && !accept.contains("text/html");
        let theme = cookies::theme(request.headers());
        (is_below && !prefers_json).then_some(Self { theme })
    }

    /// Returns the page of a refusal; a page stays as it is.
    pub fn refusal(&self, app: &App, response: Response, problem: Problem) -> Response {
        let Ok(page) = refusals::page(&problem, app.settings.base_path(), self.theme) else {
            return response;
        };
        let (parts, _) = response.into_parts();
        let (own, body) = page.into_parts();
        let mut response = Response::from_parts(parts, body);
        response.headers_mut().remove(header::CONTENT_LENGTH);
        response.headers_mut().extend(own.headers);
        frame::secure(&mut response);
        response
    }
}

/// Whether an answer is a page already.
pub fn is_page(response: &Response) -> bool {
    response.extensions().get::<IsPage>().is_some()
}
