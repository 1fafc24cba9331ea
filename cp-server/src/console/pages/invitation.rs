//! The page of an invited person: takes the seat that the token of an invitation offers.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::json;

use crate::console::cookies::theme;
use crate::console::frame::alone;
use crate::console::html::{Markup, html};
use crate::console::refusals::status_of;
use crate::console::view::View;
use crate::kernel::error::{Error, Result};

crate::pages! { invitation:
    /// Asks whether to accept the invitation. Looking accepts nothing.
    GET "/invitations/accept" calls [invitations.accept] => ask, public;
    /// Accepts the invitation.
    POST "/invitations/accept" calls [invitations.accept] => accept, public;
}

const TITLE: &str = "Accept the invitation";

async fn ask(view: &mut View) -> Result<Response> {
    let token = view.asked("token").unwrap_or_default().to_owned();
    Ok(page(
        view,
        StatusCode::OK,
        &html! {
            form.card method="post" action=(view.url("/invitations/accept")) {
                h1 { (TITLE) }
                p.soft { "You get the seat that the invitation offers. Its e-mail address must be yours." }
                @if token.is_empty() {
                    div.field {
                        label for="f-token" { "Token" }
                        span.hint #f-token-h { "The invitation has it. It begins with cpin_." }
                        input #f-token name="token" autocomplete="off" aria-describedby="f-token-h" required;
                    }
                } @else { input type="hidden" name="token" value=(token); }
                button."btn primary" { "Accept" }
                p."small quiet" { "An invitation is accepted once." }
            }
        },
    ))
}

async fn accept(view: &mut View) -> Result<Response> {
    let token = view.entry("token").unwrap_or_default().to_owned();
    match view.ops.forward("invitations.accept", &json!({"token": token})).await {
        Ok(_) => Ok(page(
            view,
            StatusCode::OK,
            &html! {
                div.card {
                    h1 { "The invitation is accepted" }
                    p.soft role="status" { "You are a member of the organization." }
                    a."btn primary" href=(view.url("/sign-in")) { "Sign in" }
                }
            },
        )),
        Err(error) if error.document().status < 500 => Ok(refused(view, &error)),
        Err(error) => Err(error),
    }
}

fn refused(view: &View, error: &Error) -> Response {
    page(
        view,
        status_of(error),
        &html! {
            div.card {
                h1 { "This invitation cannot be accepted" }
                p.soft { (error.detail().replace('`', "")) }
                a.btn href=(view.url("/sign-in")) { "Sign in" }
            }
        },
    )
}

fn page(view: &View, status: StatusCode, body: &Markup) -> Response {
    let mut page = alone(status, &view.base, theme(&view.parts.headers), TITLE, body);
    // The address of this page has the token, which no `Referer` may contain.
    page.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("strict-origin"));
    page
}
