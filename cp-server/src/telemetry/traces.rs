//! Traces: the settings, and the export.

#[cfg(feature = "otlp")]
mod export;
mod settings;

#[cfg(feature = "otlp")]
pub use self::export::{Exporting, export};
pub use self::settings::TraceSettings;

/// Ends the export, which sends the last spans.
pub fn finish(_: Option<Exporting>) {}

/// The export of a build without traces. Its settings are refused, so no export is requested.
#[cfg(not(feature = "otlp"))]
pub struct Exporting;

/// Begins no export.
#[cfg(not(feature = "otlp"))]
pub fn export(_: TraceSettings) -> std::io::Result<Exporting> {
    Ok(Exporting)
}
