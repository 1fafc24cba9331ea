//! Any bytes as a status list: nothing panics, no more is held than was asked for, and what is read is
//! written and read again alike.
#![no_main]

use cp_contracts::{EntryBits, StatusList};
use libfuzzer_sys::fuzz_target;

const MAX: usize = 16 * 1024;

fuzz_target!(|input: (u8, &str)| {
    let (bits, lst) = input;
    let Ok(bits) = EntryBits::try_from(bits) else { return };
    if let Ok(list) = StatusList::decode(bits, lst, MAX) {
        assert!(list.entries() <= MAX as u64 * 8 / u64::from(u8::from(bits)));
        let again = StatusList::decode(bits, &list.encode(), MAX).expect("we read what we write");
        assert_eq!(again.encode(), list.encode());
    }
});
