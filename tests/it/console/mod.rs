//! The web console: pages over the table of operations.

mod affected;
mod answers;
mod callers;
mod changes;
mod edits;
mod entries;
mod form;
mod forms;
mod generated;
mod hand;
mod invited;
mod limits;
mod links;
mod pages;
mod words;

use axum::body::Body;
use axum::http::{Method, Request};
use url::form_urlencoded;

use crate::world::{Answer, Client, World};

/// A browser: it asks for pages and sends forms.
pub struct Browser {
    pub client: Client,
}

impl Browser {
    pub fn new(client: Client) -> Self {
        Self { client: client.with("accept", "text/html") }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.client.call(Method::GET, &format!("/console{path}"), None).await
    }

    pub async fn post(&self, path: &str, entries: &[(&str, &str)]) -> Answer {
        self.send(path, entries, "https://cp.example").await
    }

    /// A form of a page of this origin.
    pub async fn send(&self, path: &str, entries: &[(&str, &str)], origin: &str) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(entries).finish();
        let request = Request::post(format!("/console{path}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("origin", origin);
        self.client.send(request.body(Body::from(body)).unwrap()).await
    }
}

/// The platform at the console.
pub fn platform(world: &World) -> Browser {
    Browser::new(world.root())
}

/// A page: its status, and that its HTML is sound.
#[track_caller]
pub fn sound(answer: &Answer, status: u16) -> String {
    let text = answer.text();
    let main = text.split("<main").nth(1).unwrap_or(&text).split("</main>").next().unwrap();
    assert_eq!(answer.status, status, "{main}");
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert!(answer.header("content-security-policy").contains("script-src 'self'"));
    assert_eq!(answer.header("cache-control"), "no-store");
    let ids: Vec<&str> = attributes(&text, " id=\"").collect();
    for (n, id) in ids.iter().enumerate() {
        assert!(!ids[..n].contains(id), "the ID {id} is there twice: {text}");
    }
    for name in [" for=\"", " aria-labelledby=\"", " aria-describedby=\""] {
        for reference in attributes(&text, name).flat_map(str::split_whitespace) {
            assert!(ids.contains(&reference), "{name}{reference} leads nowhere: {text}");
        }
    }
    for forbidden in [" style=", " onclick=", " onload=", " onerror=", "javascript:"] {
        assert!(!text.contains(forbidden), "{forbidden}: {text}");
    }
    text
}

fn attributes<'t>(text: &'t str, name: &'static str) -> impl Iterator<Item = &'t str> {
    text.split(name).skip(1).filter_map(|rest| rest.split('"').next())
}

/// The value of a hidden entry.
#[track_caller]
pub fn hidden(page: &str, name: &str) -> String {
    let marker = format!("name=\"{name}\" value=\"");
    let rest = page.split(&marker).nth(1).unwrap_or_else(|| panic!("no {name}: {page}"));
    rest.split('"').next().unwrap().replace("&quot;", "\"")
}
