//! The rows of the tables that benchmarks print.

/// Returns the median, and sorts the runs.
pub(crate) fn median(runs: &mut [f64]) -> f64 {
    runs.sort_by(f64::total_cmp);
    runs[runs.len() / 2]
}

/// Prints the median of a limit, the median of the server, and their ratio.
pub(crate) fn row(what: &str, mut limit: Vec<f64>, mut ours: Vec<f64>) {
    let (limit, ours) = (median(&mut limit), median(&mut ours));
    println!("{what:<58} {limit:>12.0} {ours:>12.0} {:>7.2}", ours / limit);
}
