//! What an operation answers, and how it is rendered.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::Value;

use super::error::{Error, Result};
use super::secret::{ShownOnce, hex, sha256};

/// An answer on its way to the wire, the audit event and the idempotency store.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub location: Option<String>,
    pub body: Option<Bytes>,
    /// The thing that was made, when the path does not name it: type and id.
    pub made: Option<(&'static str, String)>,
    /// The answer as the audit event keeps it: with its secrets masked.
    pub after: Option<Value>,
}

/// What an operation may answer with.
pub trait Output: Send + 'static {
    const STATUS: StatusCode;
    const ALSO: Option<StatusCode> = None;
    /// Whether the operation makes something new, so that there is no state before it.
    const MAKES: bool = false;
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema>;
    fn answer(self) -> Result<Answer>;
}

/// Anything that is JSON: 200.
impl<T: Serialize + JsonSchema + Send + 'static> Output for T {
    const STATUS: StatusCode = StatusCode::OK;
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<T>())
    }
    fn answer(self) -> Result<Answer> {
        json_answer(StatusCode::OK, &self)
    }
}

/// A thing with a path of its own.
pub trait Resource: Serialize + JsonSchema + Send + 'static {
    const NOUN: &'static str;
    /// Where it lives below the base, such as `licenses`.
    const PATH: &'static str;
    fn name(&self) -> String;
}

/// A new thing: 201 with its `Location`.
#[derive(Debug)]
pub struct Created<T>(pub T);

impl<T: Resource> Output for Created<T> {
    const STATUS: StatusCode = StatusCode::CREATED;
    const MAKES: bool = true;
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<T>())
    }
    fn answer(self) -> Result<Answer> {
        let name = self.0.name();
        let mut answer = json_answer(StatusCode::CREATED, &self.0)?;
        answer.location = Some(format!("{}/{}/{name}", super::endpoint::BASE, T::PATH));
        answer.made = Some((T::NOUN, name));
        Ok(answer)
    }
}

/// A thing that was new (201) or there before (200).
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
    fn answer(self) -> Result<Answer> {
        match self {
            Self::New(thing) => Created(thing).answer(),
            Self::Known(thing) => {
                let name = thing.name();
                let mut answer = json_answer(StatusCode::OK, &thing)?;
                answer.made = Some((T::NOUN, name));
                Ok(answer)
            }
        }
    }
}

/// Done, and nothing to say: 204.
#[derive(Debug)]
pub struct NoContent;

impl Output for NoContent {
    const STATUS: StatusCode = StatusCode::NO_CONTENT;
    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        None
    }
    fn answer(self) -> Result<Answer> {
        let status = StatusCode::NO_CONTENT;
        Ok(Answer { status, location: None, body: None, made: None, after: None })
    }
}

fn json_answer<T: Serialize>(status: StatusCode, value: &T) -> Result<Answer> {
    let body = ShownOnce::while_shown(|| serde_json::to_vec(value)).map_err(Error::internal)?;
    let after = serde_json::to_value(value).map_err(Error::internal)?;
    let body = Some(body.into());
    Ok(Answer { status, location: None, body, made: None, after: Some(after) })
}

impl Answer {
    /// Renders the answer; a read that the caller has already is 304.
    pub fn render(self, method: &Method, request: &HeaderMap) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if let Some(location) = self.location.and_then(|l| HeaderValue::try_from(l).ok()) {
            headers.insert(header::LOCATION, location);
        }
        let Some(body) = self.body else { return response };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let tag = etag(&body);
        if let Ok(tag) = HeaderValue::try_from(&tag) {
            headers.insert(header::ETAG, tag);
        }
        if matches!(*method, Method::GET | Method::HEAD) && has_tag(request, header::IF_NONE_MATCH, &tag) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response.headers_mut().remove(header::CONTENT_TYPE);
            return response;
        }
        *response.body_mut() = body.into();
        response
    }
}

/// The strong entity tag of a representation (RFC 9110, section 8.8.3): its hash.
pub fn etag(body: &[u8]) -> String {
    format!("\"{}\"", hex(&sha256(body)[..16]))
}

/// Whether a list of entity tags names this one, or any (`*`).
///
/// A weak tag of ours matches too: proxies that compress weaken the tag they pass on.
pub fn has_tag(request: &HeaderMap, name: header::HeaderName, tag: &str) -> bool {
    request.get_all(name).iter().filter_map(|value| value.to_str().ok()).any(|list| {
        list.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
    })
}

/// Bytes that stay the same for all callers: a published document with its cache headers.
pub fn document(
    media_type: &'static str,
    cache: &'static str,
    body: Bytes,
    request: &HeaderMap,
) -> Response {
    let tag = etag(&body);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static(cache)),
        (header::ETAG, HeaderValue::try_from(&tag).unwrap_or(HeaderValue::from_static("\"\""))),
    ];
    if has_tag(request, header::IF_NONE_MATCH, &tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, body).into_response()
}
