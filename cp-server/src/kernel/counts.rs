//! Counters of the metrics that slices and jobs increase.

/// Counts of a transaction, which the metrics receive when it commits: a change that rolls back
/// must not count.
#[derive(Default)]
pub struct Counts(Vec<(&'static str, u64)>);

impl Counts {
    /// Adds to the counter with this name.
    pub fn add(&mut self, counter: &'static str, count: u64) {
        self.0.push((counter, count));
    }

    /// Adds the counts of a part of the transaction.
    pub fn extend(&mut self, part: Self) {
        self.0.extend(part.0);
    }

    /// Passes the counts to the metrics.
    pub(in crate::kernel) fn committed(self) {
        for (counter, count) in self.0 {
            metrics::counter!(counter).increment(count);
        }
    }
}

/// Counts a run of a job.
pub fn ran(job: &'static str, is_done: bool) {
    metrics::counter!("cp_job_runs_total", "job" => job).increment(1);
    // A failure that did not happen yet is 0 and not absent: `increase` sees the first one.
    metrics::counter!("cp_job_failures_total", "job" => job).increment(u64::from(!is_done));
}
