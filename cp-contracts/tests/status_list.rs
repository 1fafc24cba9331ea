//! Status lists: the vectors of the specification, a model, and hostile streams.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cp_contracts::EntryBits::{self, Eight, Four, One, Two};
use cp_contracts::StatusListError::{Bits, Compression, Encoding, Index, Size, Trailing, Value};
use cp_contracts::TokenStatus::{Invalid, Other, Suspended, Valid};
use cp_contracts::{
    EncodedStatusList, LICENSE_LIST_BITS, LICENSE_LIST_ENTRIES, StatusList, StatusListError,
    TokenStatus,
};
use flate2::write::ZlibEncoder;
use flate2::{Compress, Compression as Level, FlushCompress};
use proptest::prelude::*;
use serde_json::{Map, json};

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut stream = ZlibEncoder::new(Vec::new(), Level::best());
    stream.write_all(bytes).unwrap();
    stream.finish().unwrap()
}

fn decode(bits: EntryBits, stream: &[u8], max: usize) -> Result<StatusList, StatusListError> {
    StatusList::decode(bits, &URL_SAFE_NO_PAD.encode(stream), max)
}

/// §4.1 and §4.2.
#[test]
fn the_examples_of_the_specification_are_read_and_written() {
    let one_bit = [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1];
    let two_bits = [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3];
    for (bits, lst, values) in
        [(One, "eNrbuRgAAhcBXQ", &one_bit[..]), (Two, "eNo76fITAAPfAgc", &two_bits)]
    {
        let mut written = StatusList::new(bits, u64::try_from(values.len()).unwrap());
        for (idx, value) in (0..).zip(values) {
            written.set(idx, TokenStatus::from(*value)).unwrap();
        }
        assert_eq!(
            written.to_claim(),
            EncodedStatusList { bits, lst: lst.to_owned(), extra: Map::new() }
        );
        let read = StatusList::decode(bits, lst, 3).unwrap();
        assert_eq!(read, written);
        let statuses: Vec<u8> =
            (0..read.entries()).map(|idx| read.status(idx).unwrap().into()).collect();
        assert_eq!(statuses, values);
        assert_eq!(read.status(read.entries()), None);
    }
}

/// Appendix C: lists of 2^20 entries.
#[test]
fn the_test_vectors_of_the_specification_are_read() {
    let one_bit = "eNrt3AENwCAMAEGogklACtKQPg9LugC9k_ACvreiogEAAKkeCQAAAAAAAAAAAAAAAAAAAIBylgQAAAAAAAAA\
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAXG9IAAAAAAAAAPwsJAAAAAAAAAAAAAAAvhsSAAAA\
        AAAAAAAA7KpLAAAAAAAAAAAAAAAAAAAAAJsLCQAAAAAAAAAAADjelAAAAAAAAAAAKjDMAQAAAACAZC8L2AEb";
    let two_bits = "eNrt2zENACEQAEEuoaBABP5VIO01fCjIHTMStt9ovGVIAAAAAABAbiEBAAAAAAAAAAAAAAAAAAAAAAAAAAAA\
        AAAAAAAAAAAAAEB5WwIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAID0ugQAAAAAAAAAAAAAAAAAQG12SgAAAAAAAAAAAAAA\
        AAAAAAAAAAAAAOCSIQEAAAAAAAAAAAAAAAAAAAAAAAD8ExIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\
        AAAAwJEuAQAAAAAAAAAAAAAAAAAAAAAAAMB9SwIAAAAAAAAAAAAAAAAAAACoYUoAAAAAAAAAAAAAAEBqH81g\
        AQw";
    let places = [
        0, 1_993, 25_460, 159_495, 495_669, 554_353, 645_645, 723_232, 854_545, 934_534, 1_000_345,
    ];
    for (bits, lst, values) in
        [(One, one_bit, [1; 11]), (Two, two_bits, [1, 2, 1, 3, 1, 1, 2, 1, 1, 2, 3])]
    {
        let read = StatusList::decode(bits, lst, 256 * 1024).unwrap();
        let mut expected = StatusList::new(bits, 1 << 20);
        for (idx, value) in places.into_iter().zip(values) {
            expected.set(idx, TokenStatus::from(value)).unwrap();
        }
        assert!(read == expected, "{bits:?}");
    }
}

#[test]
fn a_new_list_is_valid_throughout() {
    for bits in [One, Two, Four, Eight] {
        let list = StatusList::new(bits, LICENSE_LIST_ENTRIES);
        assert_eq!((list.bits(), list.entries()), (bits, LICENSE_LIST_ENTRIES));
        assert!((0..LICENSE_LIST_ENTRIES).all(|idx| list.status(idx) == Some(Valid)));
        assert_eq!(list.status(LICENSE_LIST_ENTRIES), None);
        assert_eq!(list.status(u64::MAX), None);
    }
    assert_eq!(StatusList::new(Two, 5).entries(), 8, "whole bytes");
    assert_eq!(StatusList::new(Two, 0).status(0), None);
}

#[test]
fn status_list_write_out_of_range_changes_nothing() {
    let mut list = StatusList::new(LICENSE_LIST_BITS, 8);
    list.set(3, Suspended).unwrap();
    let before = list.clone();
    assert_eq!(list.set(8, Invalid), Err(Index));
    assert_eq!(list.set(u64::MAX, Invalid), Err(Index));
    assert_eq!(list.set(3, Other(4)), Err(Value));
    assert_eq!(StatusList::new(One, 8).set(0, Suspended), Err(Value));
    assert_eq!(list, before);
    list.set(3, Other(3)).unwrap();
    list.set(3, Valid).unwrap();
    assert_eq!(list, StatusList::new(LICENSE_LIST_BITS, 8));
}

#[test]
fn a_stream_is_whole_alone_and_unharmed() {
    let good = deflated(&[0b1110_0100; 16 * 1024]);
    let list = decode(Two, &good, 16 * 1024).unwrap();
    assert_eq!((list.entries(), list.status(3)), (65_536, Some(Other(3))));
    for end in 0..good.len() {
        assert_eq!(decode(Two, &good[..end], 16 * 1024), Err(Compression), "{end} bytes");
    }
    assert_eq!(decode(Two, &[&good[..], &[0]].concat(), 16 * 1024), Err(Trailing));
    assert_eq!(decode(Two, &[&good[..], &good].concat(), 16 * 1024), Err(Trailing));
    let mut wrong_sum = good.clone();
    *wrong_sum.last_mut().unwrap() ^= 1;
    assert_eq!(decode(Two, &wrong_sum, 16 * 1024), Err(Compression));
    // Bare DEFLATE, and gzip.
    assert_eq!(decode(Two, &good[2..], 16 * 1024), Err(Compression));
    assert_eq!(decode(Two, &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3], 16 * 1024), Err(Compression));
    for spelling in ["eNrbuRgAAhcBXQ==", "eNrbuRgAAhcBXR", " eNrbuRgAAhcBXQ", "eNrbuRgAAhcB/Q", "é"]
    {
        assert_eq!(StatusList::decode(One, spelling, 16), Err(Encoding), "{spelling}");
    }
}

#[test]
fn a_reader_takes_no_more_than_it_asked_for() {
    let at_most = |bytes: usize, max: usize| decode(One, &deflated(&vec![0; bytes]), max);
    for bytes in [0, 1, 1_000, 4_095, 4_096, 4_097, 16_384, 100_000] {
        assert_eq!(at_most(bytes, bytes).map(|list| list.entries() / 8), Ok(bytes as u64));
        let refused = at_most(bytes + 1, bytes);
        assert_eq!(refused, Err(Size { max_bytes: bytes }));
    }
    // A megabyte that stands for a gigabyte of zeros: full flushes make its parts repeatable.
    let mut bomb = vec![0x78, 0xda];
    let mut part = Vec::with_capacity(1 << 16);
    let mut deflate = Compress::new(Level::best(), false);
    deflate.compress_vec(&[0; 1 << 20], &mut part, FlushCompress::Full).unwrap();
    assert_eq!(deflate.total_in(), 1 << 20);
    (0..1_024).for_each(|_| bomb.extend(&part));
    assert!(bomb.len() < 3 << 19, "{}", bomb.len());
    assert_eq!(decode(Two, &bomb, 16 * 1024), Err(Size { max_bytes: 16 * 1024 }));
}

#[test]
fn an_entry_has_1_2_4_or_8_bits() {
    for bits in 0..=u8::MAX {
        let parsed = serde_json::from_value::<EntryBits>(json!(bits));
        assert_eq!(parsed.is_ok(), [1, 2, 4, 8].contains(&bits), "{bits}");
        match EntryBits::try_from(bits) {
            Ok(known) => assert_eq!(json!(known), json!(bits)),
            Err(error) => assert_eq!(error, Bits),
        }
    }
    serde_json::from_value::<EntryBits>(json!("2")).unwrap_err();
    serde_json::from_value::<EntryBits>(json!(2.0)).unwrap_err();
}

fn bits() -> impl Strategy<Value = EntryBits> {
    prop::sample::select(vec![One, Two, Four, Eight])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_list_is_its_entries(
        bits in bits(),
        changes in prop::collection::vec((0..LICENSE_LIST_ENTRIES, any::<u8>()), 0..400),
    ) {
        let mut model = vec![0_u8; usize::try_from(LICENSE_LIST_ENTRIES).unwrap()];
        let mut list = StatusList::new(bits, LICENSE_LIST_ENTRIES);
        for (idx, value) in changes {
            let value = value & (u8::MAX >> (8 - u8::from(bits)));
            model[usize::try_from(idx).unwrap()] = value;
            list.set(idx, TokenStatus::from(value)).unwrap();
        }
        let read = StatusList::decode(bits, &list.encode(), model.len()).unwrap();
        prop_assert!(read == list);
        let entries: Vec<u8> =
            (0..LICENSE_LIST_ENTRIES).map(|idx| read.status(idx).unwrap().into()).collect();
        prop_assert!(entries == model);
    }

    #[test]
    fn no_stream_panics_or_exceeds_its_bound(
        mut stream in prop::collection::vec(any::<u8>(), 0..300),
        is_zlib: bool,
        max in 0_usize..2_000,
    ) {
        if is_zlib {
            stream.splice(0..0, [0x78, 0xda]);
        }
        if let Ok(list) = decode(Eight, &stream, max) {
            prop_assert!(list.entries() <= u64::try_from(max).unwrap());
        }
    }
}
