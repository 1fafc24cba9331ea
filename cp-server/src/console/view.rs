//! Pages: their lines, and what a request of a page has.

use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded;

use super::resources::Resources;
use super::schema::{Control, Field};
use super::templates::matched;
use super::words;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::in_process::{Api, InProcess, Once, Seen};

/// Declares pages: `pub fn pages(&mut Pages)`. A page's line names the operations that the page
/// calls: building the table refuses a name that does not exist.
#[macro_export]
macro_rules! pages {
    ($group:ident: $(
        $(#[doc = $doc:literal])+
        $method:ident $path:literal $(calls [$($slice:ident.$operation:ident),* $(,)?])? => $page:ident
        $(, $mode:ident)?;
    )+) => {
        pub(crate) fn pages(pages: &mut $crate::console::view::Pages) {
            $(pages.add($crate::console::view::Page {
                name: concat!("console.", stringify!($group), ".", stringify!($page)),
                method: axum::http::Method::$method,
                path: $path,
                calls: &[$($(concat!(stringify!($slice), ".", stringify!($operation))),*)?],
                is_public: $crate::pages!(@public $($mode)?),
                has_own_forms: $crate::pages!(@own_forms $($mode)?),
                run: |view| Box::pin($page(view)),
            });)+
        }
    };
    (@public public) => { true };
    (@public $($other:ident)?) => { false };
    (@own_forms own_forms) => { true };
    (@own_forms $($other:ident)?) => { false };
}

/// The line of a page.
pub(super) struct Page {
    /// The label of its metrics.
    pub(super) name: &'static str,
    pub(super) method: Method,
    /// The path below `/console`.
    pub(super) path: &'static str,
    /// The operations that the page calls.
    pub(super) calls: &'static [&'static str],
    /// Whether the page is for callers without a session.
    pub(super) is_public: bool,
    /// Whether the page shows its forms itself. Those of other pages are generated.
    pub(super) has_own_forms: bool,
    pub(super) run: Run,
}

pub(super) type Run = for<'v> fn(&'v mut View) -> BoxFuture<'v, Result<Response>>;

/// The table of the pages.
#[derive(Default)]
pub(crate) struct Pages(Vec<Page>);

impl Pages {
    pub(super) fn add(&mut self, page: Page) {
        self.0.push(page);
    }

    /// # Panics
    /// When a page names an operation that the table lacks.
    pub(super) fn checked(self, api: &Api) -> Self {
        for page in &self.0 {
            for operation in page.calls {
                assert!(api.line(operation).is_some(), "{} calls {operation}", page.name);
            }
        }
        self
    }

    /// Returns the page of a path, and the values of its parameters. Literal segments win. A form is
    /// generated, unless its page has forms of its own.
    pub(super) fn find(
        &self,
        method: &Method,
        path: &str,
        query: &[(String, String)],
    ) -> Option<(&Page, Vec<String>)> {
        let is_form = method == Method::GET && mode(query).is_some();
        let fitting = self.0.iter().filter(|page| page.method == *method);
        let fitting = fitting.filter(|page| page.has_own_forms || !is_form);
        let fitting = fitting.filter_map(|page| Some((page, matched(page.path, path)?)));
        fitting.min_by_key(|(_, values)| values.len())
    }
}

/// The person or token that looks at a page.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Me {
    pub(super) name: String,
    #[serde(default)]
    pub(super) organizations: Vec<MyOrganization>,
}

/// An organization of the person, or the one in view.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct MyOrganization {
    pub(super) id: OrganizationId,
    pub(super) name: String,
}

/// The links from the top to the page: a title, and a path unless it is the page itself.
pub(super) type Crumbs = Vec<(String, Option<String>)>;

/// The request of a page, and what its frame shows.
pub(super) struct View {
    pub(super) ops: InProcess,
    /// The path of the base URL.
    pub(super) base: String,
    /// The path below `/console`, as it was sent.
    pub(super) path: String,
    /// The values of the page's path.
    pub(super) place: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) form: Vec<(String, String)>,
    pub(super) parts: Arc<Parts>,
    pub(super) now: DateTime<Utc>,
    pub(super) me: Me,
    /// The organization in view.
    pub(super) organization: Option<MyOrganization>,
    pub(super) resources: Arc<Resources>,
    /// The cookies that the answer sets.
    pub(super) cookies: Vec<HeaderValue>,
}

impl View {
    /// Returns the URL of a page.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}/console{path}", self.base)
    }

    /// Returns the value of a parameter of the path.
    pub(super) fn part(&self, n: usize) -> String {
        self.place.get(n).cloned().unwrap_or_default()
    }

    pub(super) fn asked(&self, name: &str) -> Option<&str> {
        value(&self.query, name)
    }

    pub(super) fn entry(&self, name: &str) -> Option<&str> {
        value(&self.form, name).map(str::trim).filter(|text| !text.is_empty())
    }

    /// Returns the hidden entries of the form.
    pub(super) fn once(&self) -> Once {
        let own = |name| self.entry(name).map(str::to_owned);
        Once { key: own("_key"), if_match: own("_match") }
    }

    /// Returns the key of a new form.
    pub(super) fn new_key(&self) -> String {
        self.ops.app().random.uuid(self.now).to_string()
    }

    /// Reads the organization, which the frame then shows.
    pub(super) async fn enter_organization(&mut self, named: &str) -> Result<OrganizationId> {
        if let Some(known) = self.organization.as_ref().filter(|o| o.id.to_string() == named) {
            return Ok(known.id);
        }
        let seen: Seen<MyOrganization> = self.ops.read("organizations.read", &[named], "").await?;
        let id = seen.value.id;
        self.organization = Some(seen.value);
        Ok(id)
    }

    /// Shows the organization of a thing, if the caller may see it.
    pub(super) async fn show_organization(&mut self, named: &str) -> Result<()> {
        match self.enter_organization(named).await {
            Err(error) if error.document().status < 500 => Ok(()),
            done => done.map(drop),
        }
    }

    /// Reads something; null when the caller may not see it.
    pub(super) async fn visible(
        &mut self,
        operation: &str,
        place: &[&str],
        query: &str,
    ) -> Result<Value> {
        match self.ops.read(operation, place, query).await {
            Err(error) if error.document().status < 500 => Ok(Value::Null),
            seen => seen.map(|seen: Seen<Value>| seen.value),
        }
    }

    /// Returns the links to a page of the organization in view.
    pub(super) fn crumbs(&self, title: &str) -> Crumbs {
        let organization = self.organization.as_ref();
        let owner =
            organization.map(|one| (one.name.clone(), Some(format!("/organizations/{}", one.id))));
        owner.into_iter().chain([(title.to_owned(), None)]).collect()
    }

    /// Returns the links to a page below another page of the organization in view.
    pub(super) fn crumbs_below(&self, above: &str, path: String, title: &str) -> Crumbs {
        let mut crumbs = self.crumbs(above);
        if let Some(last) = crumbs.last_mut() {
            last.1 = Some(path);
        }
        crumbs.push((title.to_owned(), None));
        crumbs
    }

    pub(super) fn in_view(&self) -> Option<OrganizationId> {
        self.organization.as_ref().map(|organization| organization.id)
    }

    pub(super) fn may(&self, operation: &str) -> bool {
        self.ops.may(operation, self.in_view())
    }

    /// Sends the browser to another page.
    pub(super) fn see(&self, path: &str) -> Result<Response> {
        let to = HeaderValue::try_from(self.url(path)).map_err(Error::internal)?;
        let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response();
        for cookie in &self.cookies {
            response.headers_mut().append(header::SET_COOKIE, cookie.clone());
        }
        Ok(response)
    }
}

/// The parameters that name a form of a list or of a thing.
const MODES: [&str; 3] = ["new", "edit", "delete"];

/// Returns the form that a query string asks for.
pub(super) fn mode(query: &[(String, String)]) -> Option<&'static str> {
    MODES.into_iter().find(|mode| value(query, mode).is_some())
}

/// Returns the first value of a name.
pub(super) fn value<'p>(pairs: &'p [(String, String)], name: &str) -> Option<&'p str> {
    pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// Returns the pairs that have a value.
pub(super) fn given(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
    let trimmed = pairs.iter().map(|(name, value)| (&**name, value.trim()));
    trimmed.filter(|(_, value)| !value.is_empty()).collect()
}

/// Returns the parameters that have a value, as the operation reads them: an instant as forms show it
/// becomes one of the API.
pub(super) fn parameters(pairs: &[(String, String)], fields: &[Field]) -> Vec<(String, String)> {
    let is_instant = |name: &str| {
        fields.iter().any(|one| one.name == name && matches!(one.control, Control::Instant))
    };
    let read = |(name, value): (&str, &str)| {
        let at = is_instant(name).then(|| words::read_form_instant(value)).flatten();
        (name.to_owned(), at.map_or_else(|| value.to_owned(), words::iso))
    };
    given(pairs).into_iter().map(read).collect()
}

/// Returns the text of a member of an answer; empty without one.
pub(super) fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

/// Returns the items of a page of an answer.
pub(super) fn items(page: &Value) -> Vec<Value> {
    page["items"].as_array().cloned().unwrap_or_default()
}

/// Reads the pairs of a query string or of a form.
pub(super) fn pairs(text: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(text).into_owned().collect()
}

/// Writes a query string of these pairs.
pub(super) fn query<'p>(pairs: impl IntoIterator<Item = (&'p str, &'p str)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}
