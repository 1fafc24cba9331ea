//! Spans of the OpenTelemetry SDK.

use std::borrow::Cow;
use std::sync::OnceLock;

use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
    TraceState, Tracer,
};
use opentelemetry::{Context, ContextGuard, KeyValue};
use opentelemetry_sdk::trace::SdkTracer;

/// The tracer of this process. Like the recorder of the metrics, it is the process's and not an
/// application's.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Begins to record spans, until the process ends.
pub fn install(tracer: SdkTracer) {
    // A program that embeds the library may have installed one; the first one stays.
    let _ = TRACER.set(tracer);
}

pub(super) type Active = Context;

pub(super) fn is_on() -> bool {
    TRACER.get().is_some()
}

/// Whether the running work belongs to a recorded trace.
pub(super) fn is_in_trace() -> bool {
    is_on() && Context::map_current(|cx| cx.span().span_context().is_sampled())
}

pub(super) fn request(name: Cow<'static, str>, parent: Option<&str>) -> Option<Active> {
    let outside = Context::new();
    let parent = match parent.and_then(remote) {
        Some(remote) => outside.with_remote_span_context(remote),
        None => outside,
    };
    begin(name, SpanKind::Server, &parent)
}

/// Reads a `traceparent` (W3C Trace Context, section 3.2). Fields of later versions follow the known ones.
/// `tracestate` is not read: it may contain values of other companies.
fn remote(text: &str) -> Option<SpanContext> {
    let (known, later) = text.split_at_checked(55)?;
    let fields: Vec<&str> = known.split('-').collect();
    let [version, trace, span, flags] = fields[..] else { return None };
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let has = |field: &str, digits| field.len() == digits && field.bytes().all(is_hex);
    let is_sound = has(version, 2) && has(trace, 32) && has(span, 16) && has(flags, 2);
    let is_known = version == "00" && later.is_empty();
    let is_later = !matches!(version, "00" | "ff") && (later.is_empty() || later.starts_with('-'));
    if !is_sound || !(is_known || is_later) {
        return None;
    }
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let remote = SpanContext::new(trace, span, flags, true, TraceState::default());
    remote.is_valid().then_some(remote)
}

pub(super) fn child(name: &'static str) -> Option<Active> {
    is_in_trace().then(|| begin(name.into(), SpanKind::Internal, &Context::current()))?
}

pub(super) fn client(name: String) -> Option<Active> {
    begin(name.into(), SpanKind::Client, &Context::current())
}

pub(super) fn root(name: &'static str) -> Option<Active> {
    begin(name.into(), SpanKind::Internal, &Context::new())
}

fn begin(name: Cow<'static, str>, kind: SpanKind, parent: &Context) -> Option<Active> {
    let tracer = TRACER.get()?;
    let span = tracer.span_builder(name).with_kind(kind).start_with_context(tracer, parent);
    span.span_context().is_valid().then(|| parent.with_span(span))
}

pub(super) fn current() -> Option<Active> {
    if !is_on() {
        return None;
    }
    let current = Context::current();
    current.has_active_span().then_some(current)
}

pub(super) fn ids() -> Option<(String, String)> {
    if !is_on() {
        return None;
    }
    Context::map_current(|cx| {
        let span = cx.span();
        let known = span.span_context();
        known.is_valid().then(|| (known.trace_id().to_string(), known.span_id().to_string()))
    })
}

pub(super) fn is_recorded(active: &Active) -> bool {
    active.span().span_context().is_sampled()
}

pub(super) fn rename(active: &Active, name: Cow<'static, str>) {
    active.span().update_name(name);
}

pub(super) fn set(active: &Active, name: &'static str, value: Cow<'static, str>) {
    active.span().set_attribute(KeyValue::new(name, value));
}

pub(super) fn set_number(active: &Active, name: &'static str, value: i64) {
    active.span().set_attribute(KeyValue::new(name, value));
}

/// Marks the work as failed, without a message: it could contain values.
pub(super) fn mark_failed(active: &Active) {
    active.span().set_status(Status::error(""));
}

pub(super) fn traceparent(active: &Active) -> Option<String> {
    let span = active.span();
    let known = span.span_context();
    let flags = (known.trace_flags() & TraceFlags::SAMPLED).to_u8();
    known.is_valid().then(|| format!("00-{}-{}-{flags:02x}", known.trace_id(), known.span_id()))
}

pub(super) fn enter(active: &Active) -> ContextGuard {
    active.clone().attach()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparent_that_is_malformed_is_ignored() {
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        for (text, is_sampled) in [
            (format!("00-{trace}-{span}-01"), true),
            (format!("00-{trace}-{span}-00"), false),
            (format!("00-{trace}-{span}-ff"), true),
            (format!("01-{trace}-{span}-01-later"), true),
        ] {
            let remote = remote(&text).expect(&text);
            assert_eq!(remote.trace_id().to_string(), trace);
            assert_eq!(remote.span_id().to_string(), span);
            assert_eq!((remote.is_sampled(), remote.is_remote()), (is_sampled, true), "{text}");
        }
        for text in [
            String::new(),
            format!("00-{trace}-{span}"),
            format!("00-{trace}-{span}-01-later"),
            format!("ff-{trace}-{span}-01"),
            format!("01-{trace}-{span}-01later"),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{trace}{span}--01"),
            format!("00-+{}-{span}-01", &trace[1..]),
            format!("00-{trace}-{span}-é"),
        ] {
            assert!(remote(&text).is_none(), "{text}");
        }
    }
}
