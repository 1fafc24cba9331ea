//! A build without traces: no span exists.

use std::borrow::Cow;
use std::convert::Infallible;

pub(super) type Active = Infallible;

pub(super) fn is_on() -> bool {
    false
}

pub(super) fn is_in_trace() -> bool {
    false
}

pub(super) fn request(_: Cow<'static, str>, _: Option<&str>) -> Option<Active> {
    None
}

pub(super) fn child(_: &'static str) -> Option<Active> {
    None
}

pub(super) fn client(_: String) -> Option<Active> {
    None
}

pub(super) fn root(_: &'static str) -> Option<Active> {
    None
}

pub(super) fn current() -> Option<Active> {
    None
}

pub(super) fn ids() -> Option<(String, String)> {
    None
}

pub(super) fn is_recorded(active: &Active) -> bool {
    match *active {}
}

pub(super) fn rename(active: &Active, _: Cow<'static, str>) {
    match *active {}
}

pub(super) fn set(active: &Active, _: &'static str, _: Cow<'static, str>) {
    match *active {}
}

pub(super) fn set_number(active: &Active, _: &'static str, _: i64) {
    match *active {}
}

pub(super) fn mark_failed(active: &Active) {
    match *active {}
}

pub(super) fn traceparent(active: &Active) -> Option<String> {
    match *active {}
}

/// The time within a span.
pub(super) struct Entered;

pub(super) fn enter(active: &Active) -> Entered {
    match *active {}
}
