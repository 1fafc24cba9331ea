//! How large a list of license tokens is, and how long packing and unpacking last.
//!
//! `cargo bench -p cp-contracts` prints the sizes first.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use cp_contracts::{LICENSE_LIST_BITS, LICENSE_LIST_ENTRIES, StatusList, TokenStatus};
use divan::{Bencher, black_box};

/// How many percent of the tokens are revoked.
const REVOKED: [u64; 4] = [0, 1, 10, 50];

fn main() {
    for percent in REVOKED {
        println!("{percent:>2} % revoked: lst has {:>6} bytes", list(percent).encode().len());
    }
    divan::main();
}

/// A list whose revoked tokens are scattered, as indexes are drawn without order.
fn list(percent: u64) -> StatusList {
    let mut list = StatusList::new(LICENSE_LIST_BITS, LICENSE_LIST_ENTRIES);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for idx in 0..LICENSE_LIST_ENTRIES {
        // xorshift64 (Marsaglia 2003): even enough, and the same in every run.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if random % 100 < percent {
            list.set(idx, TokenStatus::Invalid).unwrap();
        }
    }
    list
}

#[divan::bench(args = REVOKED)]
fn encode(bencher: Bencher<'_, '_>, percent: u64) {
    let list = list(percent);
    bencher.bench(|| black_box(&list).encode());
}

#[divan::bench(args = REVOKED)]
fn decode(bencher: Bencher<'_, '_>, percent: u64) {
    let lst = list(percent).encode();
    bencher.bench(|| StatusList::decode(LICENSE_LIST_BITS, black_box(&lst), 16 * 1024).unwrap());
}

#[divan::bench]
fn status(bencher: Bencher<'_, '_>) {
    let list = list(10);
    bencher.bench(|| black_box(&list).status(black_box(4_711)));
}
