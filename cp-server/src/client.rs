//! Calls of operations by the command line: in its own process on the database, or over HTTP.

use std::io::Read;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Response, header};
use cp_contracts::{FieldError, Problem};
use futures_util::stream::{self, StreamExt};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tower::ServiceExt;
use ureq::SendBody;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::kernel::access::caller::Caller;
use crate::kernel::app::App;
use crate::kernel::digits;
use crate::kernel::http::line::Line;
use crate::kernel::text::{path_segment, quoted};

/// The place where operations run.
pub enum Client {
    /// The database of this machine. No token is required: the caller can open the database and the
    /// keys.
    Local { app: App, router: Box<Router> },
    /// A running server.
    Remote(Remote),
}

/// A running server, and the credential for it.
#[derive(Clone)]
pub struct Remote {
    url: String,
    token: String,
    agent: ureq::Agent,
}

impl Remote {
    /// `authorities` replace the public ones.
    pub fn new(
        url: &str,
        token: &str,
        authorities: Option<Arc<Vec<Certificate<'static>>>>,
    ) -> Self {
        let roots = authorities.map_or(RootCerts::WebPki, RootCerts::Specific);
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build()
            .into();
        Self { url: url.trim_end_matches('/').to_owned(), token: token.to_owned(), agent }
    }
}

/// The response of a call.
pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Client {
    pub fn local(app: App) -> Self {
        Self::Local { router: Box::new(crate::server::router(&app)), app }
    }

    /// Calls an operation by name. Arguments that are not in its path become the query string of a
    /// read, or the body of a change.
    pub async fn call(&self, name: &str, args: Map<String, Value>) -> anyhow::Result<Value> {
        let text = self.answer(name, args).await?;
        Ok(if text.is_empty() { Value::Null } else { digits::read(&text)? })
    }

    /// Returns the body of the response, unchanged.
    pub async fn answer(&self, name: &str, args: Map<String, Value>) -> anyhow::Result<Vec<u8>> {
        let reply = self.request(&line(name)?, args).await?;
        if reply.status < 400 {
            return Ok(reply.body);
        }
        Err(refusal(reply.status, &reply.body))
    }

    pub async fn request(&self, line: &Line, args: Map<String, Value>) -> anyhow::Result<Reply> {
        let mut body = Vec::new();
        let status = self.stream(line, args, |part| body.extend_from_slice(part)).await?;
        Ok(Reply { status, body })
    }

    /// Calls an operation and passes on the body of the response as it arrives.
    pub async fn stream(
        &self,
        line: &Line,
        mut args: Map<String, Value>,
        mut part: impl FnMut(&[u8]),
    ) -> anyhow::Result<u16> {
        let path = fill_path(line, &mut args)?;
        let (target, body) = if line.in_query() {
            (with_query(&path, &args), Vec::new())
        } else {
            (path, digits::write(&args)?.into_bytes())
        };
        match self {
            Self::Local { router, .. } => {
                let request = Request::builder()
                    .method(line.method.clone())
                    .uri(target)
                    .header(header::CONTENT_TYPE, "application/json")
                    .body(Body::from(body))?;
                in_process(router, request, part).await
            }
            Self::Remote(remote) => {
                let (parts, mut arriving) = mpsc::channel(16);
                let (remote, method) = (remote.clone(), line.method.clone());
                let call = spawn_blocking(move || remote.send(method, &target, body, &parts));
                while let Some(bytes) = arriving.recv().await {
                    part(&bytes);
                }
                call.await?
            }
        }
    }

    /// Posts a body of any length to a path with its query. Passes on the body of the response as it
    /// arrives.
    pub async fn upload(
        &self,
        target: &str,
        media_type: &'static str,
        mut body: Box<dyn Read + Send>,
        mut part: impl FnMut(&[u8]),
    ) -> anyhow::Result<u16> {
        match self {
            Self::Local { router, .. } => {
                let (parts, mut arriving) = mpsc::channel::<std::io::Result<Vec<u8>>>(4);
                let reading = spawn_blocking(move || {
                    loop {
                        let mut buffer = vec![0; 64 * 1024];
                        let read = body.read(&mut buffer).map(|n| {
                            buffer.truncate(n);
                            buffer
                        });
                        let is_last = read.as_ref().map_or(true, Vec::is_empty);
                        if parts.blocking_send(read).is_err() || is_last {
                            return;
                        }
                    }
                });
                let body = Body::from_stream(stream::poll_fn(move |cx| arriving.poll_recv(cx)));
                let request = Request::post(target).header(header::CONTENT_TYPE, media_type);
                let status = in_process(router, request.body(body)?, part).await;
                reading.await?;
                status
            }
            Self::Remote(remote) => {
                let (parts, mut arriving) = mpsc::channel(16);
                let (remote, target) = (remote.clone(), target.to_owned());
                let call = spawn_blocking(move || remote.upload(&target, media_type, body, &parts));
                while let Some(bytes) = arriving.recv().await {
                    part(&bytes);
                }
                call.await?
            }
        }
    }

    pub async fn close(self) {
        if let Self::Local { app, .. } = self {
            app.db.close().await;
        }
    }
}

/// Returns the refusal of a request: its detail, or a line for each of its fields.
pub fn refusal(status: u16, body: &[u8]) -> anyhow::Error {
    let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
        // Another program answered: a proxy, or another server.
        return anyhow!("{status}: {}", quoted(&String::from_utf8_lossy(body)));
    };
    let mut text = format!("{} ({}): {}", problem.code, problem.status, problem.detail);
    if problem.errors.len() > 1 {
        text = format!("{} ({}):", problem.code, problem.status);
        for FieldError { field, detail, .. } in &problem.errors {
            let place = if detail.contains(&**field) { "" } else { &format!("{field}: ") };
            text.push_str(&format!("\n  {place}{detail}"));
        }
    }
    anyhow!(text)
}

/// Sends a request in this process, as the system itself.
async fn in_process(
    router: &Router,
    mut request: Request<Body>,
    mut part: impl FnMut(&[u8]),
) -> anyhow::Result<u16> {
    request.extensions_mut().insert(Caller::system("command line"));
    let response = router.clone().oneshot(request).await?;
    let status = response.status().as_u16();
    let mut parts = response.into_body().into_data_stream();
    while let Some(bytes) = parts.next().await {
        part(&bytes?);
    }
    Ok(status)
}

/// Indents JSON for people, and keeps the order of its members and the digits of its numbers.
pub fn pretty(json: &[u8]) -> anyhow::Result<String> {
    let mut text = Vec::new();
    let json = digits::marked(json);
    let mut reader = serde_json::Deserializer::from_slice(&json);
    serde_transcode::transcode(&mut reader, &mut serde_json::Serializer::pretty(&mut text))?;
    Ok(digits::unmarked(String::from_utf8(text)?))
}

/// Returns the line of the table with this name.
pub fn line(name: &str) -> anyhow::Result<Line> {
    let table = crate::operations().published().table;
    let found = table.iter().find(|line| line.name == name).cloned();
    found.with_context(|| {
        let near: Vec<&str> = table
            .iter()
            .map(|line| line.name)
            .filter(|known| known.split('.').next() == name.split('.').next())
            .collect();
        match near.is_empty() {
            true => "there is no such operation; `cp-server operations` lists them".to_owned(),
            false => format!("there is no such operation; similar ones: {}", near.join(", ")),
        }
    })
}

fn fill_path(line: &Line, args: &mut Map<String, Value>) -> anyhow::Result<String> {
    let mut path = String::new();
    for part in line.full_path().split('/').skip(1) {
        path.push('/');
        let Some(name) = part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) else {
            path.push_str(part);
            continue;
        };
        let (name, is_rest) = (name.trim_start_matches('*'), name.starts_with('*'));
        let value = args.remove(name).with_context(|| {
            format!(
                "{name} is required: the path of {} is {}. `cp-server operations {0}` shows its fields",
                line.name, line.path
            )
        })?;
        match (plain(&value), is_rest) {
            (rest, true) => path.push_str(&rest),
            (part, false) => path.push_str(&path_segment(&part)),
        }
    }
    Ok(path)
}

fn with_query(path: &str, args: &Map<String, Value>) -> String {
    if args.is_empty() {
        return path.to_owned();
    }
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in args {
        query.append_pair(name, &plain(value));
    }
    format!("{path}?{}", query.finish())
}

fn plain(value: &Value) -> String {
    match digits::of_number(value) {
        Some(number) => number.into_owned(),
        None => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    }
}

/// Returns the URL without user, password and query, which may contain a credential.
fn plain_url(url: &str) -> String {
    let parsed = url::Url::parse(url);
    parsed.map_or_else(
        |_| "the server".to_owned(),
        |url| format!("{}{}", url.origin().ascii_serialization(), url.path()),
    )
}

impl Remote {
    fn send(
        &self,
        method: Method,
        target: &str,
        body: Vec<u8>,
        parts: &mpsc::Sender<Vec<u8>>,
    ) -> anyhow::Result<u16> {
        let url = format!("{}{target}", self.url);
        let mut request = Request::builder()
            .method(&method)
            .uri(&url)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        let reached = || format!("{} cannot be reached; is the server running?", plain_url(&url));
        let response = if matches!(method, Method::GET | Method::DELETE) {
            self.agent.run(request.body(())?).with_context(reached)?
        } else {
            request = request.header(header::CONTENT_TYPE, "application/json");
            self.agent.run(request.body(body)?).with_context(reached)?
        };
        pass_on(response, parts)
    }

    fn upload(
        &self,
        target: &str,
        media_type: &str,
        mut body: Box<dyn Read + Send>,
        parts: &mpsc::Sender<Vec<u8>>,
    ) -> anyhow::Result<u16> {
        let url = format!("{}{target}", self.url);
        let request = Request::post(&url)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, media_type)
            .body(SendBody::from_reader(&mut body))?;
        let reached = || format!("{} cannot be reached; is the server running?", plain_url(&url));
        pass_on(self.agent.run(request).with_context(reached)?, parts)
    }
}

/// Sends the parts of a response as they arrive.
fn pass_on(response: Response<ureq::Body>, parts: &mpsc::Sender<Vec<u8>>) -> anyhow::Result<u16> {
    let status = response.status().as_u16();
    let mut reader = response.into_body().into_reader();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let n = reader.read(&mut buffer)?;
        if n == 0 || parts.blocking_send(buffer[..n].to_vec()).is_err() {
            return Ok(status);
        }
    }
}
