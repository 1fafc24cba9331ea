//! Ranges of positions in the log: those that an erasure removes, and those that verification finds
//! missing.

use std::fmt;

/// Positions in the log, both ends included, such as `3-9,12`.
#[derive(Debug, Default)]
pub(super) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Adds positions. Positions that follow the last range extend it.
    pub(super) fn add(&mut self, first: u64, last: u64) {
        match self.0.last_mut() {
            Some((_, end)) if *end + 1 == first => *end = last,
            _ => self.0.push((first, last)),
        }
    }

    pub(super) fn read(&mut self, text: &str) {
        for range in text.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            if let (Ok(first), Ok(last)) = (first.parse(), last.parse()) {
                self.0.push((first, last));
            }
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// Returns the first position that the others do not contain.
    pub(super) fn first_outside(&self, others: &Self) -> Option<u64> {
        let mut others: Vec<_> = others.0.clone();
        others.sort_unstable();
        let mut next = others.iter().peekable();
        let mut covered = None;
        for (first, last) in &self.0 {
            let mut place = *first;
            while place <= *last {
                while let Some((from, to)) = next.next_if(|(from, _)| *from <= place) {
                    let _ = from;
                    covered = covered.max(Some(*to));
                }
                match covered {
                    Some(to) if to >= place => place = to + 1,
                    _ => return Some(place),
                }
            }
        }
        None
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (first, last)) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(text: &str) -> Ranges {
        let mut ranges = Ranges::default();
        ranges.read(text);
        ranges
    }

    #[test]
    fn undeclared_erasure_is_found() {
        for (erased, declared, first) in [
            ("", "", None),
            ("3", "", Some(3)),
            ("3-9,12", "12,3-9", None),
            ("3-9,12", "3-8,12", Some(9)),
            ("3-9", "1-4,5-20", None),
            ("3-9", "1-4,6-20", Some(5)),
            ("3,5,7", "0-100,4", None),
            ("0-4,6", "0-4", Some(6)),
        ] {
            let found = ranges(erased).first_outside(&ranges(declared));
            assert_eq!(found, first, "{erased} of {declared}");
        }
        let mut joined = Ranges::default();
        [3, 4, 5, 9, 11, 12].into_iter().for_each(|n| joined.add(n, n));
        assert_eq!((joined.to_string().as_str(), joined.count()), ("3-5,9,11-12", 6));
    }
}
