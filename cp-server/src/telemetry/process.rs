//! The process's own metrics, under the names that Prometheus clients share.

use std::fmt::Write;

use procfs::process::{LimitValue, Process};
use procfs::{ProcResult, WithCurrentSystemInfo};

use super::families::{CPU, FAMILIES};

/// Appends the metrics of the process. They are read now: the recorder of the other metrics has no
/// counters with fractions.
pub(super) fn render(text: &mut String) {
    let values = match read() {
        Ok(values) => values,
        Err(error) => return tracing::debug!(%error, "/proc cannot be read"),
    };
    for (name, value) in values {
        let Some(family) = FAMILIES.iter().find(|family| family.name == name) else { continue };
        let _ = write!(
            text,
            "# HELP {name} {}\n# TYPE {name} {}\n{name} {value}\n\n",
            family.help,
            family.kind.name()
        );
    }
}

fn read() -> ProcResult<Vec<(&'static str, f64)>> {
    let process = Process::myself()?;
    let stat = process.stat()?;
    let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
    let mut values = vec![
        (CPU, seconds(stat.utime + stat.stime)),
        ("process_resident_memory_bytes", stat.rss_bytes().get() as f64),
        ("process_open_fds", process.fd_count()? as f64),
        ("process_start_time_seconds", procfs::boot_time_secs()? as f64 + seconds(stat.starttime)),
    ];
    if let LimitValue::Value(most) = process.limits()?.max_open_files.soft_limit {
        values.push(("process_max_fds", most as f64));
    }
    Ok(values)
}
