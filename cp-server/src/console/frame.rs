//! The frame of a page: the rail, the bar, and the page's own content.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;

use super::assets::{ICON, SCRIPT, STYLE};
use super::cookies::{self, Notice};
use super::html::{DOCTYPE, Markup, html, icon, rendered, seal, symbols};
use super::view::{Crumbs, View};
use super::words;
use crate::kernel::error::{Error, Result};

/// The name in the title of each page.
pub(super) const PRODUCT: &str = "License authority";

/// Marks an answer that is a page, also when it is a refusal.
#[derive(Clone, Copy, Debug)]
pub(super) struct IsPage;

/// The links of an organization in the rail: title, icon, segment below the organization.
const CUSTOMER: [(&str, &str, &str, &str); 8] = [
    ("Overview", "building", "", "organizations.read"),
    ("Licenses", "license", "/licenses", "licenses.list"),
    ("Deployments", "server", "/deployments", "deployments.list"),
    ("Subscriptions", "layers", "/subscriptions", "subscriptions.list"),
    ("People", "people", "/memberships", "memberships.list"),
    ("Usage and limits", "chart", "/limits", "limits.list"),
    ("Service tokens", "token", "/service-tokens", "service_tokens.list"),
    ("Audit log", "log", "/audit", "audit.list"),
];

/// The links of the platform in the rail.
const AUTHORITY: [(&str, &str, &str, &str); 9] = [
    ("Overview", "home", "", "organizations.list"),
    ("Organizations", "building", "/organizations", "organizations.list"),
    ("Inspect a token", "shield", "/inspect", "bundles.inspect"),
    ("Plans", "layers", "/plans", "plans.list"),
    ("Signing keys", "key", "/signing/keys", "keys.list"),
    ("Audit log", "log", "/audit", "audit.list_all"),
    ("Service tokens", "token", "/service-tokens", "service_tokens.list_all"),
    ("People", "people", "/users", "users.list"),
    ("Everything else", "more", "/all", "organizations.list"),
];

impl View {
    /// Renders a page in the frame.
    pub(super) fn page(&mut self, title: &str, crumbs: &Crumbs, body: &Markup) -> Result<Response> {
        self.page_with(StatusCode::OK, title, crumbs, body)
    }

    pub(super) fn page_with(
        &mut self,
        status: StatusCode,
        title: &str,
        crumbs: &Crumbs,
        body: &Markup,
    ) -> Result<Response> {
        let page = self.framed(title, crumbs, body, "");
        Ok(self.answer(status, Body::from(page.0)))
    }

    /// Returns the parts of a page before, between and after the two marks in its body. Icons of `rows`
    /// may follow the first mark.
    pub(super) fn page_around(
        &mut self,
        title: &str,
        crumbs: &Crumbs,
        body: &Markup,
        mark: &str,
        rows: &Markup,
    ) -> Result<[String; 3]> {
        let page = self.framed(title, crumbs, body, &rows.0);
        let parts: Vec<String> = page.0.split(mark).map(str::to_owned).collect();
        parts.try_into().map_err(|_| Error::internal(anyhow::anyhow!("the page lacks its marks")))
    }

    /// Returns the answer with a page, and the cookies that it sets.
    pub(super) fn answer(&self, status: StatusCode, page: Body) -> Response {
        let mut response = answer(status, page);
        for cookie in &self.cookies {
            response.headers_mut().append(header::SET_COOKIE, cookie.clone());
        }
        response
    }

    /// Renders the document.
    fn framed(&mut self, title: &str, crumbs: &Crumbs, body: &Markup, rows: &str) -> Markup {
        let notice = Notice::take(self.ops.app(), &self.parts.headers);
        let flash = notice.map(|(notice, gone)| {
            self.cookies.push(gone);
            self.flash(&notice)
        });
        let framed = html! {
            a.skip href="#main" { "Skip to content" }
            div.frame {
                aside.rail {
                    a.brand href=(self.url("")) { (seal()) (PRODUCT) }
                    details.menu-toggle {
                        summary aria-label="Menu" { (icon("menu")) }
                        div.inner { (self.rail("m")) }
                    }
                    div.wide { div.inner { (self.rail("n")) } }
                }
                div {
                    (self.bar(crumbs))
                    main #main tabindex="-1" {
                        @if let Some(flash) = flash { (flash) }
                        (body)
                    }
                }
            }
        };
        let theme = cookies::theme(&self.parts.headers);
        let zone = cookies::zone(&self.parts.headers);
        let signs = symbols(&format!("{}{rows}", framed.0));
        let look = Look { theme, zone: zone.as_deref(), is_alone: false };
        document(&self.base, &look, title, framed, &signs)
    }

    fn flash(&self, notice: &Notice) -> Markup {
        html! {
            div."note ok flash" role="status" {
                (icon("check"))
                div { (words::visible(&notice.text)) }
                @if let Some((path, title)) = &notice.undo {
                    form method="get" action=(self.url(path)) { button.btn.s { (title) } }
                }
            }
        }
    }

    fn rail(&self, prefix: &str) -> Markup {
        let is_of_platform = self.ops.caller.is_of_platform();
        html! {
            @if let Some(organization) = &self.organization {
                a.switch href=(self.url(if is_of_platform { "/organizations" } else { "" })) {
                    span.mono-tile aria-hidden="true" { (initials(&organization.name)) }
                    span {
                        small.quiet { "Organization" }
                        strong { (words::visible(&organization.name)) }
                    }
                    (icon("down"))
                }
            }
            nav aria-label="Main" {
                @if let Some(organization) = &self.organization {
                    @let base = format!("/organizations/{}", organization.id);
                    (self.links(&format!("{prefix}1"), "Customer", &base, &CUSTOMER))
                }
                @if is_of_platform {
                    (self.links(&format!("{prefix}2"), "Authority", "", &AUTHORITY))
                }
            }
            p.where {
                (host(&self.ops.app().settings.base_url)) br;
                "cp-server " (env!("CARGO_PKG_VERSION")) " · " (words::database(self.ops.app().db.name()))
            }
        }
    }

    fn links(
        &self,
        heading: &str,
        title: &str,
        base: &str,
        links: &[(&str, &str, &str, &str)],
    ) -> Markup {
        let here = &self.path;
        // The pages of an organization are not those of the platform.
        let is_foreign = base.is_empty() && self.organization.is_some();
        let leads = |path: &str, segment: &str| {
            let is_below = |path: &str| here.starts_with(&format!("{path}/"));
            here == path
                || !segment.is_empty()
                    && !is_foreign
                    && (is_below(path) || here == segment || is_below(segment))
        };
        let shown = links.iter().filter(|(.., operation)| self.may(operation));
        html! {
            div {
                h2 id=(heading) { (title) }
                ul aria-labelledby=(heading) {
                    @for (title, sign, segment, _) in shown {
                        @let path = format!("{base}{segment}");
                        li {
                            a href=(self.url(&path)) aria-current=[leads(&path, segment).then_some("page")] {
                                (icon(sign)) (title)
                            }
                        }
                    }
                }
            }
        }
    }

    fn bar(&self, crumbs: &Crumbs) -> Markup {
        let name = words::visible(&self.me.name);
        html! {
            div.bar {
                nav.crumbs aria-label="Where you are" {
                    ol {
                        @for (title, path) in crumbs {
                            @match path {
                                Some(path) => li { a href=(self.url(path)) { (words::visible(title)) } },
                                None => li aria-current="page" { (words::visible(title)) },
                            }
                        }
                    }
                }
                form.find role="search" action=(self.url("/search")) data-inspect=(self.url("/inspect")) {
                    label.sr for="q" { "Find by name, ID, e-mail or hash" }
                    (icon("find"))
                    input #q name="q" type="search" maxlength="200"
                        placeholder="Find by name, ID, e-mail, hash" autocomplete="off";
                    kbd aria-hidden="true" { "/" }
                }
                details."menu me" {
                    summary aria-label={ (initials(&self.me.name)) ": you, " (name) } {
                        span.avatar aria-hidden="true" { (initials(&self.me.name)) }
                    }
                    div.pop {
                        a href=(self.url("/me")) { (name) br; small.quiet { "Sessions, theme, time zone" } }
                        form method="post" action=(self.url("/sign-out")) { button { "Sign out" } }
                    }
                }
            }
        }
    }
}

/// Renders a page without the frame: signing in, and refusals without a session.
pub(super) fn alone(
    status: StatusCode,
    base: &str,
    theme: Option<&str>,
    title: &str,
    body: &Markup,
) -> Response {
    let centered = html! {
        main #main {
            p.brand { (seal()) (PRODUCT) }
            (body)
        }
    };
    let signs = symbols(&centered.0);
    let look = Look { theme, zone: None, is_alone: true };
    answer(status, Body::from(document(base, &look, title, centered, &signs).0))
}

/// How a document looks.
struct Look<'l> {
    theme: Option<&'l str>,
    zone: Option<&'l str>,
    is_alone: bool,
}

fn document(base: &str, look: &Look<'_>, title: &str, body: Markup, signs: &Markup) -> Markup {
    let asset = |name: &str| format!("{base}/console/assets/{name}");
    html! {
        (DOCTYPE)
        html lang="en" data-theme=[look.theme] data-zone=[look.zone] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (words::visible(title)) " · " (PRODUCT) }
                link rel="stylesheet" href=(asset(&STYLE.name));
                link rel="icon" href=(asset(&ICON.name)) type="image/svg+xml";
                script src=(asset(&SCRIPT.name)) defer {}
            }
            body class=[look.is_alone.then_some("alone")] {
                // Before the content, which may arrive in parts.
                (signs)
                (rendered(body.0))
            }
        }
    }
}

/// Returns the answer with a page, and the headers of all pages.
fn answer(status: StatusCode, page: Body) -> Response {
    let mut response = Response::new(page);
    *response.status_mut() = status;
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, html);
    response.extensions_mut().insert(IsPage);
    response
}

/// Sets the headers of answers below `/console`.
pub(super) fn secure(response: &mut Response) {
    let own = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
             connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
             require-trusted-types-for 'script'; trusted-types 'none'",
        ),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "clipboard-write=(self)"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in own {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
}

fn initials(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric()).filter_map(|word| word.chars().next());
    let initials: String = words.take(2).collect();
    if initials.is_empty() { "–".into() } else { initials.to_uppercase() }
}

fn host(base_url: &str) -> &str {
    base_url.split_once("://").map_or(base_url, |(_, host)| host)
}
