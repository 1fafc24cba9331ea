//! The export of traces: a thread sends the spans of this process to the collector.
//!
//! # Design
//! A span that ends waits in memory, and no request waits for the collector. When too many spans wait, new
//! ones are lost and counted. The thread sends a batch when one is full, and otherwise after some seconds. A
//! batch that the collector does not accept for now is sent again, with growing pauses. The log has one
//! warning for each time in which the collector fails, and not one for each batch.
//!
//! Rejected: the batch processor of the SDK. It has a client of its own, logs each lost batch, and counts
//! nothing that an operator sees.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, Span, SpanData, SpanProcessor};
use prost::Message;

use super::settings::TraceSettings;
use crate::kernel::outbound::collecting::{Collector, Unaccepted};
use crate::kernel::traces::install;

/// The spans that may wait. A span has a few kilobytes at most.
const MOST: usize = 8192;
/// The spans of a batch.
const BATCH: usize = 512;
/// The time for which spans gather.
const EVERY: Duration = Duration::from_secs(2);
/// The longest pause after a failure of the collector.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long the end of the process waits for the collector.
const PATIENCE: Duration = Duration::from_secs(2);

/// The spans that wait for the collector.
#[derive(Clone, Debug, Default)]
struct Spans(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<SpanData>,
    is_ending: bool,
    has_ended: bool,
}

/// Counts lost spans.
fn lost(reason: &'static str, spans: usize) {
    let spans = u64::try_from(spans).unwrap_or(u64::MAX);
    metrics::counter!("cp_trace_spans_lost_total", "reason" => reason).increment(spans);
}

impl SpanProcessor for Spans {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        let mut state = self.state();
        if state.waiting.len() >= MOST || state.has_ended {
            drop(state);
            lost("full", 1);
            return;
        }
        state.waiting.push_back(span);
        // Once for each batch: a thread that wakes for each span would cost more than the span.
        if state.waiting.len() == BATCH {
            self.0.changed.notify_all();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Spans {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a batch. `None` at the end.
    fn batch(&self) -> Option<Vec<SpanData>> {
        loop {
            let gathers = |state: &mut State| state.waiting.len() < BATCH && !state.is_ending;
            let waited = self.0.changed.wait_timeout_while(self.state(), EVERY, gathers);
            let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            let count = state.waiting.len().min(BATCH);
            if count > 0 {
                return Some(state.waiting.drain(..count).collect());
            }
            if state.is_ending {
                return None;
            }
        }
    }

    /// Waits before another attempt. Returns whether the process ends.
    fn pause(&self, time: Duration) -> bool {
        let runs = |state: &mut State| !state.is_ending;
        let waited = self.0.changed.wait_timeout_while(self.state(), time, runs);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_ending
    }

    /// Sends batches until the process ends.
    fn send(&self, collector: &Collector, resource: &ResourceAttributesWithSchema) {
        let mut is_failing = false;
        while let Some(batch) = self.batch() {
            let count = batch.len();
            let resource_spans = group_spans_by_resource_and_scope(batch, resource);
            let batch = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
            let mut pause = Duration::from_secs(1);
            loop {
                let Err(unaccepted) = collector.send(&batch) else {
                    let sent = u64::try_from(count).unwrap_or(u64::MAX);
                    metrics::counter!("cp_trace_spans_sent_total").increment(sent);
                    if std::mem::take(&mut is_failing) {
                        tracing::info!("traces are sent to the collector again");
                    }
                    break;
                };
                let Unaccepted { why, is_temporary } = unaccepted;
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::warn!(why, "traces are not sent to the collector");
                }
                if !is_temporary {
                    lost("refused", count);
                    break;
                }
                if self.pause(pause) {
                    // A collector that failed a moment ago gets no other attempt.
                    lost("unsent", count + self.state().waiting.drain(..).len());
                    break;
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        self.state().has_ended = true;
        self.0.changed.notify_all();
    }
}

/// The export, which sends the last spans when this is dropped.
pub struct Exporting {
    spans: Spans,
    thread: Option<JoinHandle<()>>,
}

/// Begins to record traces, and to send them to the collector.
pub fn export(settings: TraceSettings) -> io::Result<Exporting> {
    let TraceSettings { url, headers, authorities, service, attributes, ratio } = settings;
    let own = [
        KeyValue::new("service.name", service),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
    ];
    let given = attributes.into_iter().map(|(name, value)| KeyValue::new(name, value));
    let resource = Resource::builder_empty().with_attributes(given).with_attributes(own).build();
    let spans = Spans::default();
    let collector = Collector::new(url, headers, authorities.as_ref());
    let (sent, known) = (spans.clone(), ResourceAttributesWithSchema::from(&resource));
    let thread = std::thread::Builder::new().name("traces".to_owned());
    let thread = thread.spawn(move || sent.send(&collector, &known))?;
    let provider = SdkTracerProvider::builder()
        .with_span_processor(spans.clone())
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))))
        .with_resource(resource)
        .build();
    let scope = InstrumentationScope::builder("cp-server").with_version(env!("CARGO_PKG_VERSION"));
    install(provider.tracer_with_scope(scope.build()));
    Ok(Exporting { spans, thread: Some(thread) })
}

impl Drop for Exporting {
    fn drop(&mut self) {
        let mut state = self.spans.state();
        state.is_ending = true;
        let changed = &self.spans.0.changed;
        changed.notify_all();
        let is_open = |state: &mut State| !state.has_ended;
        let waited = changed.wait_timeout_while(state, PATIENCE, is_open);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let has_ended = state.has_ended;
        drop(state);
        if has_ended && let Some(thread) = self.thread.take() {
            let _ = thread.join();
        } else {
            tracing::warn!("the collector did not answer in time: the last traces are lost");
        }
    }
}
