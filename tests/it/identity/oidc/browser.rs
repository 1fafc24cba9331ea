//! A browser in front of the server.

use std::collections::BTreeMap;

use axum::http::Method;
use serde_json::json;

use super::mats;
use crate::world::issuer::{CLIENT, CLIENT_SECRET, Issuer};
use crate::world::{Answer, Client, World};

pub const SESSION: &str = "__Host-cp_session";
pub const LOGIN: &str = "__Host-cp_login";

/// A server with a console client at the issuer, and a browser in front of it.
pub async fn console(world: &World, issuer: &Issuer) -> Browser {
    let client = json!({"client_id": CLIENT, "client_secret": CLIENT_SECRET});
    let provider = issuer.on_platform("auth0", client);
    let (_, client) = world.server(|settings| settings.identity.providers = vec![provider]);
    issuer.log_in_as(mats(json!({"name": "Mats"})));
    Browser::new(&client)
}

/// A person's browser: it keeps cookies, and follows the provider's answers.
pub struct Browser {
    pub client: Client,
    pub cookies: BTreeMap<String, String>,
}

impl Browser {
    pub fn new(client: &Client) -> Self {
        Self { client: client.clone(), cookies: BTreeMap::new() }
    }

    pub async fn go(&mut self, path: &str) -> Answer {
        let answer = self.with_cookies().call(Method::GET, path, None).await;
        self.keep(&answer);
        answer
    }

    /// A page of the server itself sends a form.
    pub async fn post(&mut self, path: &str) -> Answer {
        let client = self.with_cookies().with("origin", "https://cp.example");
        let answer = client.with("sec-fetch-site", "same-origin").post(path, json!({})).await;
        self.keep(&answer);
        answer
    }

    pub fn with_cookies(&self) -> Client {
        let cookies = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        let text = cookies.collect::<Vec<_>>().join("; ");
        if text.is_empty() { self.client.clone() } else { self.client.clone().with("cookie", text) }
    }

    fn keep(&mut self, answer: &Answer) {
        for cookie in answer.headers.get_all("set-cookie") {
            let (pair, flags) = cookie.to_str().unwrap().split_once("; ").unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            assert!(flags.starts_with("Path=/; Max-Age="), "{flags}");
            assert!(flags.ends_with("; Secure; HttpOnly; SameSite=Lax"), "{flags}");
            if flags.contains("Max-Age=0;") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// Begins a login, and lets the provider send the browser back: to where it says.
    pub async fn return_from_provider(&mut self, query: &str) -> String {
        let answer = self.go(&format!("/api/v1/login{query}")).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        follow(answer.header("location")).await
    }

    pub async fn log_in(&mut self, query: &str) -> Answer {
        let back = self.return_from_provider(query).await;
        self.go(&back).await
    }

    pub async fn me(&self) -> Answer {
        self.with_cookies().get("/me").await
    }
}

/// Calls the provider, and returns the path and query that it sends the browser back to.
pub async fn follow(location: &str) -> String {
    let location = location.to_owned();
    let asked = tokio::task::spawn_blocking(move || {
        let config = ureq::Agent::config_builder().max_redirects(0).http_status_as_error(false);
        let mut answer = ureq::Agent::from(config.build()).get(&location).call().unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        assert_eq!(answer.status(), 302, "{text}");
        answer.headers()["location"].to_str().unwrap().to_owned()
    });
    let back = asked.await.unwrap();
    back.strip_prefix("https://cp.example").unwrap().to_owned()
}

/// The same request at the provider once more, with the same state: another code.
pub async fn follow_again(issuer: &Issuer, back: &str) -> String {
    let url = url::Url::parse(&format!("https://cp.example{back}")).unwrap();
    let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let mut asked = url::Url::parse(&format!("{}/authorize?tenant=1", issuer.url)).unwrap();
    asked
        .query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", CLIENT)
        .append_pair("code_challenge_method", "S256")
        .append_pair("code_challenge", "another")
        .append_pair("scope", "openid")
        .append_pair("nonce", "another")
        .append_pair("redirect_uri", "https://cp.example/api/v1/login/callback")
        .append_pair("state", &state);
    follow(asked.as_str()).await
}
