//! The responses of operations, and their rendering.

use std::marker::PhantomData;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::poll_fn;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc::Receiver;

use crate::kernel::digits;
use crate::kernel::error::{Error, Result};
use crate::kernel::secret::{ShownOnce, hex, sha256};

/// A response before it is rendered, audited and stored for idempotency.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    /// The path below the server's base URL, or an absolute URL.
    pub location: Option<String>,
    pub body: Option<Bytes>,
    /// The body's entity tag, if it is already known.
    pub tag: Option<HeaderValue>,
    /// The type and ID of a created thing, when the path does not name it.
    pub made: Option<(&'static str, String)>,
    /// The response in the form of the audit event: with masked secrets.
    pub after: Option<Value>,
    /// A body that is sent while it is produced, instead of `body`.
    pub stream: Option<Streamed>,
}

/// A type that an operation may return.
pub trait Output: Send + 'static {
    const STATUS: StatusCode;
    const ALSO: Option<StatusCode> = None;
    /// Whether the operation creates a thing, so that there is no state before it.
    const MAKES: bool = false;
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema>;
    /// Returns the answer, with its form in the audit event if the operation has one.
    fn answer(self, is_audited: bool) -> Result<Answer>;
}

/// Any JSON value: 200.
impl<T: Serialize + JsonSchema + Send + 'static> Output for T {
    const STATUS: StatusCode = StatusCode::OK;
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<T>())
    }
    fn answer(self, is_audited: bool) -> Result<Answer> {
        json_answer(StatusCode::OK, &self, is_audited)
    }
}

/// A thing with its own path.
pub trait Resource: Serialize + JsonSchema + Send + 'static {
    const NOUN: &'static str;
    /// The path below the base, such as `licenses`.
    const PATH: &'static str;
    fn name(&self) -> String;
}

/// A created thing: 201 with its `Location`.
#[derive(Debug)]
pub struct Created<T>(pub T);

impl<T: Resource> Output for Created<T> {
    const STATUS: StatusCode = StatusCode::CREATED;
    const MAKES: bool = true;
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<T>())
    }
    fn answer(self, is_audited: bool) -> Result<Answer> {
        let name = self.0.name();
        let mut answer = json_answer(StatusCode::CREATED, &self.0, is_audited)?;
        answer.location = Some(format!("{}/{}/{name}", crate::kernel::http::line::BASE, T::PATH));
        answer.made = Some((T::NOUN, name));
        Ok(answer)
    }
}

/// A thing without a path of its own, which no other answer shows: 201 without a `Location`.
#[derive(Debug)]
pub struct CreatedHere<T>(pub T);

impl<T: Serialize + JsonSchema + Send + 'static> Output for CreatedHere<T> {
    const STATUS: StatusCode = StatusCode::CREATED;
    const MAKES: bool = true;
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<T>())
    }
    fn answer(self, is_audited: bool) -> Result<Answer> {
        json_answer(StatusCode::CREATED, &self.0, is_audited)
    }
}

/// A thing that was created (201) or existed before (200).
#[derive(Debug)]
pub enum Put<T> {
    New(T),
    Known(T),
}

impl<T: Resource> Output for Put<T> {
    const STATUS: StatusCode = StatusCode::CREATED;
    const ALSO: Option<StatusCode> = Some(StatusCode::OK);
    const MAKES: bool = true;
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<T>())
    }
    fn answer(self, is_audited: bool) -> Result<Answer> {
        match self {
            Self::New(thing) => Created(thing).answer(is_audited),
            Self::Known(thing) => {
                let name = thing.name();
                let mut answer = json_answer(StatusCode::OK, &thing, is_audited)?;
                answer.made = Some((T::NOUN, name));
                Ok(answer)
            }
        }
    }
}

/// JSON that was rendered before: a cached response.
#[derive(Debug)]
pub struct Rendered<T> {
    body: Bytes,
    tag: HeaderValue,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Rendered<T> {
    fn clone(&self) -> Self {
        Self { body: self.body.clone(), tag: self.tag.clone(), of: PhantomData }
    }
}

impl<T: Serialize> Rendered<T> {
    pub fn new(value: &T) -> Result<Self> {
        let body = Bytes::from(serde_json::to_vec(value).map_err(Error::internal)?);
        let tag = etag(&body);
        Ok(Self { body, tag, of: PhantomData })
    }
}

impl<T: Serialize + JsonSchema + 'static> Output for Rendered<T> {
    const STATUS: StatusCode = StatusCode::OK;
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<T>())
    }
    fn answer(self, is_audited: bool) -> Result<Answer> {
        let (status, body, tag) = (StatusCode::OK, Some(self.body), Some(self.tag));
        let after = body.as_deref().filter(|_| is_audited);
        let after = after.and_then(|body| digits::read(body).ok());
        Ok(Answer { status, location: None, body, tag, made: None, after, stream: None })
    }
}

/// A response of any length, sent while it is produced: 200, without an entity tag.
#[derive(Debug)]
pub struct Streamed {
    pub media_type: &'static str,
    /// The chunks. An error breaks the connection, so that a part is not mistaken for the whole.
    pub chunks: Receiver<std::io::Result<Bytes>>,
}

/// A [`Streamed`] response and its content type, for the schema.
#[derive(Debug)]
pub struct StreamOf<T>(Streamed, PhantomData<fn() -> T>);

impl<T> StreamOf<T> {
    pub fn new(stream: Streamed) -> Self {
        Self(stream, PhantomData)
    }
}

impl<T: JsonSchema + 'static> Output for StreamOf<T> {
    const STATUS: StatusCode = StatusCode::OK;
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<T>())
    }
    fn answer(self, _: bool) -> Result<Answer> {
        let (status, stream) = (StatusCode::OK, Some(self.0));
        Ok(Answer {
            status,
            location: None,
            body: None,
            tag: None,
            made: None,
            after: None,
            stream,
        })
    }
}

/// A response without a body: 204.
#[derive(Debug)]
pub struct NoContent;

impl Output for NoContent {
    const STATUS: StatusCode = StatusCode::NO_CONTENT;
    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        None
    }
    fn answer(self, _: bool) -> Result<Answer> {
        let status = StatusCode::NO_CONTENT;
        let (body, after, stream) = (None, None, None);
        Ok(Answer { status, location: None, body, tag: None, made: None, after, stream })
    }
}

fn json_answer<T: Serialize>(status: StatusCode, value: &T, is_audited: bool) -> Result<Answer> {
    let body = ShownOnce::while_shown(|| serde_json::to_vec(value)).map_err(Error::internal)?;
    let after = is_audited.then(|| digits::value_of(value)).transpose();
    let (body, after) = (Some(body.into()), after.map_err(Error::internal)?);
    Ok(Answer { status, location: None, body, tag: None, made: None, after, stream: None })
}

impl Answer {
    /// Renders the response. A read whose entity tag the caller already has is 304. The `Location`
    /// includes the path of the base URL.
    pub fn render(self, base_path: &str, method: &Method, request: &HeaderMap) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let location = self.location.map(|location| match location.starts_with('/') {
            true => format!("{base_path}{location}"),
            false => location,
        });
        if let Some(location) = location.and_then(|l| HeaderValue::try_from(l).ok()) {
            headers.insert(header::LOCATION, location);
        }
        if let Some(Streamed { media_type, mut chunks }) = self.stream {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
            headers.insert(header::VARY, HeaderValue::from_static("accept"));
            let chunks = poll_fn(move |cx| chunks.poll_recv(cx));
            *response.body_mut() = Body::from_stream(chunks);
            return response;
        }
        let Some(body) = self.body else { return response };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let tag = self.tag.unwrap_or_else(|| etag(&body));
        headers.insert(header::ETAG, tag.clone());
        if matches!(*method, Method::GET | Method::HEAD)
            && has_tag(request, header::IF_NONE_MATCH, &tag)
        {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response.headers_mut().remove(header::CONTENT_TYPE);
            return response;
        }
        *response.body_mut() = body.into();
        response
    }
}

/// Returns the strong entity tag of a representation (RFC 9110, section 8.8.3): its hash.
pub fn etag(body: &[u8]) -> HeaderValue {
    let text = format!("\"{}\"", hex(&sha256(body)[..16]));
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Whether a list of entity tags contains this one, or any (`*`).
///
/// A weak form of the tag matches too: proxies that compress a body weaken its tag.
pub fn has_tag(request: &HeaderMap, name: header::HeaderName, tag: &HeaderValue) -> bool {
    let tag = tag.to_str().unwrap_or_default();
    request.get_all(name).iter().filter_map(|value| value.to_str().ok()).any(|list| {
        list.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
    })
}

/// A published document: rendered once, and served to every caller.
#[derive(Clone, Debug)]
pub struct Document {
    body: Bytes,
    tag: HeaderValue,
    media_type: &'static str,
    cache: HeaderValue,
}

impl Default for Document {
    fn default() -> Self {
        Self::new("application/octet-stream", "no-store", Bytes::new())
    }
}

impl Document {
    pub fn new(media_type: &'static str, cache: &str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let cache = HeaderValue::try_from(cache).unwrap_or(HeaderValue::from_static("no-store"));
        Self { tag: etag(&body), body, media_type, cache }
    }

    pub fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// Returns whether the request names this document as the one that the client has.
    pub fn is_known(&self, request: &HeaderMap) -> bool {
        has_tag(request, header::IF_NONE_MATCH, &self.tag)
    }

    pub fn render(&self, request: &HeaderMap) -> Response {
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static(self.media_type)),
            (header::CACHE_CONTROL, self.cache.clone()),
            (header::ETAG, self.tag.clone()),
        ];
        if self.is_known(request) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        (headers, self.body.clone()).into_response()
    }
}
