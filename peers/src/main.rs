//! The verifier beside its limit and its peers, in one run: `peers/run.sh`.
//!
//! Absolute times drift with the machine's mood, so everything is measured in turns, many times. The
//! report has the median of a candidate's turns, and the median of its ratios to the limit in the same
//! round.

mod beside;
mod http;
mod sample;
mod verify;

use beside::Beside;
use sample::Sample;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let sample = Sample::new()?;
    let beside = arguments.next().map(|program| Beside::start(&program, &sample));
    let beside = beside.transpose()?;
    match what.as_str() {
        "verify" => {
            println!("One token of {} bytes, RSA-2048.\n", sample.token.len());
            let limits = ["raw ring", "raw aws-lc-rs"];
            verify::measure(&sample, beside)?.print("check of one token", "µs", &limits);
        }
        "http" => {
            let table = http::measure(&sample, beside)?;
            table.print("axum on loopback", "requests/ms", &["bare app"]);
        }
        _ => anyhow::bail!("usage: peers verify|http [PROGRAM-WITH-AWS-LC-RS]"),
    }
    Ok(())
}

/// What each candidate reached in each turn.
#[derive(Default)]
struct Table {
    rows: Vec<(&'static str, Vec<f64>)>,
}

impl Table {
    fn add(&mut self, name: &'static str, value: f64) {
        match self.rows.iter_mut().find(|(row, _)| *row == name) {
            Some((_, values)) => values.push(value),
            None => self.rows.push((name, vec![value])),
        }
    }

    /// Prints the medians, and the ratios to the rows named as limits.
    fn print(self, title: &str, unit: &str, limits: &[&str]) {
        let heads: String = limits.iter().map(|limit| format!(" × {limit} |")).collect();
        println!("| {title} | {unit} |{heads}");
        println!("| --- | ---: |{}", " ---: |".repeat(limits.len()));
        for (name, values) in &self.rows {
            let ratios: String = limits.iter().map(|limit| self.ratio(values, limit)).collect();
            println!("| {name} | {:.2} |{ratios}", median(values.iter().copied()));
        }
        println!();
    }

    fn ratio(&self, values: &[f64], limit: &str) -> String {
        let Some((_, limits)) = self.rows.iter().find(|(name, _)| *name == limit) else {
            return " |".to_owned();
        };
        match median(values.iter().zip(limits).map(|(value, limit)| value / limit)) {
            ratio if ratio < 0.05 => format!(" 1/{:.0} |", 1.0 / ratio),
            ratio => format!(" {ratio:.2} |"),
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
