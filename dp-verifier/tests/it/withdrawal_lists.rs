//! Of status lists of the same second, what one has taken back stays taken back; an older list is
//! refused and reported.

use dp_verifier::ErrorCode::{Replayed, Revoked, Suspended};
use dp_verifier::LicenseState::Valid;
use dp_verifier::cp_contracts::{EntryBits, StatusList};
use serde_json::json;

use crate::support::*;
use crate::withdrawal::Disk;

/// The list of the golden license and its neighbour.
fn list(iat: i64, status: u8, neighbour: u8) -> String {
    let mut list = StatusList::new(EntryBits::Two, 65_536);
    list.set(IDX, status.into()).unwrap();
    list.set(IDX + 1, neighbour.into()).unwrap();
    let mut claims = list_claims(iat, 0);
    claims["status_list"] = json!(list.to_claim());
    KEY.list(&claims)
}

fn token() -> String {
    KEY.token(&claims_on_stale("degrade"))
}

fn neighbour() -> String {
    KEY.token(&claims_with("/status/status_list/idx", json!(IDX + 1)))
}

#[test]
fn list_of_the_same_second_brings_nothing_back() {
    for restarts in [false, true] {
        let disk = Disk::new();
        let mut verifier = disk.pinned(&[&KEY]);
        // Which of them was made first is not known: each has taken back what the other has not.
        for (text, own, others) in [
            (list(NOW, 2, 0), Some(Suspended), None),
            (list(NOW, 0, 1), Some(Suspended), Some(Revoked)),
            (list(NOW, 1, 2), Some(Revoked), Some(Revoked)),
            (list(NOW, 2, 0), Some(Revoked), Some(Revoked)),
            (list(NOW, 0, 0), Some(Revoked), Some(Revoked)),
        ] {
            verifier.import_status_list(&text).unwrap();
            if restarts {
                verifier = disk.pinned(&[&KEY]);
            }
            assert_eq!(verifier.verify(&token()).err().map(|error| error.code()), own);
            assert_eq!(verifier.verify(&neighbour()).err().map(|error| error.code()), others);
        }
        // A file brings its list on the same terms.
        let mut claims = file_claims(1, &[&KEY]);
        claims["status_list"] = json!(list(NOW, 0, 0));
        assert!(!verifier.import(&KEY.file(&claims)).unwrap().holds_newer_list);
        assert_refused(verifier.verify(&token()), Revoked);
        // A newer one decides alone.
        verifier.import_status_list(&list(NOW + 1, 0, 2)).unwrap();
        assert_eq!(verifier.verify(&token()).unwrap().state(), Valid);
        assert_refused(verifier.verify(&neighbour()), Suspended);
        assert_not_taken(verifier.import_status_list(&list(NOW, 0, 0)), Replayed);
    }
}

#[test]
fn lists_of_other_forms_of_the_same_second_are_merged() {
    let disk = Disk::new();
    let verifier = disk.pinned(&[&KEY]);
    let form = |bits, entries, status: u8| {
        let mut list = StatusList::new(bits, entries);
        list.set(IDX, status.into()).unwrap();
        let mut claims = list_claims(NOW, 0);
        claims["status_list"] = json!(list.to_claim());
        KEY.list(&claims)
    };
    verifier.import_status_list(&form(EntryBits::Two, 65_536, 2)).unwrap();
    for (bits, status, code) in [
        (EntryBits::One, 0, Suspended),
        (EntryBits::Eight, 200, Revoked),
        (EntryBits::Four, 3, Revoked),
        (EntryBits::One, 0, Revoked),
    ] {
        verifier.import_status_list(&form(bits, 8_192, status)).unwrap();
        assert_refused(verifier.verify(&token()), code);
        assert_refused(disk.pinned(&[&KEY]).verify(&token()), code);
    }
    // The longer one still speaks for its end.
    let last = KEY.token(&claims_with("/status/status_list/idx", json!(65_535)));
    assert_eq!(verifier.verify(&last).unwrap().state(), Valid);
}

#[test]
fn two_processes_merge_lists_of_the_same_second() {
    let disk = Disk::new();
    let (one, two) = (disk.pinned(&[&KEY]), disk.pinned(&[&KEY]));
    one.import_status_list(&list(NOW, 1, 0)).unwrap();
    two.import_status_list(&list(NOW, 0, 1)).unwrap();
    one.import_status_list(&list(NOW, 0, 0)).unwrap();
    drop((one, two));
    let restarted = disk.pinned(&[&KEY]);
    assert_refused(restarted.verify(&token()), Revoked);
    assert_refused(restarted.verify(&neighbour()), Revoked);
}

#[test]
fn older_list_is_refused_in_words_and_one_of_another_process_is_held() {
    let disk = Disk::new();
    let (one, two) = (disk.pinned(&[&KEY]), disk.pinned(&[&KEY]));
    one.import_status_list(&list(NOW, 1, 0)).unwrap();
    let words = assert_not_taken(two.import_status_list(&list(NOW - 60, 0, 0)), Replayed);
    for word in ["older", "2026-01-09T23:05:40Z", "2026-01-09T23:06:40Z", "clock"] {
        assert!(words.contains(word), "{words}");
    }
    assert_refused(two.verify(&token()), Revoked);
    let mut claims = file_claims(1, &[&KEY]);
    claims["status_list"] = json!(list(NOW - 60, 0, 0));
    assert!(two.import(&KEY.file(&claims)).unwrap().holds_newer_list);
    assert_refused(two.verify(&token()), Revoked);
}
