//! Whatever order documents come in, and whenever a data plane restarts.

use std::collections::BTreeSet;

use dp_verifier::ErrorCode::{KeyWithdrawn, Revoked, Suspended};
use dp_verifier::LicenseState::Valid;
use dp_verifier::cp_contracts::{EntryBits, StatusList, TokenStatus};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::*;
use crate::withdrawal::{Disk, KEYS, by};

/// One document that comes to a data plane, or a restart with an old key set.
#[derive(Clone, Debug)]
enum Step {
    /// A file with this number, by this key and with these.
    File {
        seq: i64,
        signer: usize,
        keys: [bool; 4],
    },
    /// A list of this second, in which the two tokens have these statuses.
    List {
        second: i64,
        statuses: [u8; 2],
        by_file: Option<i64>,
    },
    Restart {
        pin: [bool; 4],
    },
}

fn step() -> impl Strategy<Value = Step> {
    let file = (1..12_i64, 0..4_usize, any::<[bool; 4]>())
        .prop_map(|(seq, signer, keys)| Step::File { seq, signer, keys });
    let list = (0..4_i64, [0..3_u8, 0..3_u8], proptest::option::of(1..12_i64))
        .prop_map(|(second, statuses, by_file)| Step::List { second, statuses, by_file });
    let restart = any::<[bool; 4]>().prop_map(|pin| Step::Restart { pin });
    prop_oneof![3 => file, 3 => list, 1 => restart]
}

fn chosen(keys: [bool; 4]) -> Vec<&'static Key> {
    KEYS.iter().zip(keys).filter(|(_, is_in)| *is_in).map(|(key, _)| key).collect()
}

fn list_of(second: i64, statuses: [u8; 2], key: &Key) -> Value {
    let mut list = StatusList::new(EntryBits::Two, 65_536);
    for (idx, status) in (IDX..).zip(statuses) {
        list.set(idx, TokenStatus::from(status)).unwrap();
    }
    let mut claims = list_claims(NOW - 10 + second, 0);
    claims["status_list"] = json!(list.to_claim());
    json!(key.list(&claims))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// A key that was in a file and was left out by a later one never verifies anything again; and of
    /// the lists of the newest second, what one has taken back stays so.
    #[test]
    fn nothing_that_was_withdrawn_comes_back(steps in proptest::collection::vec(step(), 1..14)) {
        let disk = Disk::new();
        let mut verifier = disk.pinned(&[&KEY, &KEYS[0], &KEYS[1]]);
        let mut newest = 0;
        let mut had: BTreeSet<&str> = BTreeSet::new();
        let mut gone: BTreeSet<&str> = BTreeSet::new();
        let mut lists: Option<(i64, [u8; 2])> = None;
        let strict = |before: [u8; 2], now: [u8; 2]| {
            // Revoked is 1 and suspended 2.
            let rank = |status: u8| [0, 2, 1][usize::from(status)];
            [0, 1].map(|i| if rank(now[i]) > rank(before[i]) { now[i] } else { before[i] })
        };
        for step in steps {
            let outcome = match step {
                Step::Restart { pin } => {
                    let mut pin = chosen(pin);
                    pin.push(&KEY);
                    drop(verifier);
                    verifier = disk.pinned(&pin);
                    None
                }
                Step::File { seq, signer, keys } => {
                    let mut keys = chosen(keys);
                    keys.push(&KEY);
                    // Now and then by a key that is not in the file.
                    let signer = &KEYS[signer];
                    if verifier.import(&signer.file(&file_claims(seq, &keys))).is_ok() {
                        prop_assert!(seq > newest && !gone.contains(signer.kid));
                        newest = seq;
                        let now: BTreeSet<_> = keys.iter().map(|key| key.kid).collect();
                        gone.extend(had.iter().filter(|kid| !now.contains(*kid)));
                        had.extend(now);
                    }
                    None
                }
                Step::List { second, statuses, by_file } => {
                    let text = list_of(second, statuses, &KEY);
                    let taken = match by_file {
                        None => verifier.import_status_list(text.as_str().unwrap()).is_ok(),
                        Some(seq) => {
                            let mut keys: Vec<_> = KEYS.iter().collect();
                            keys.push(&KEY);
                            let mut claims = file_claims(seq, &keys);
                            claims["status_list"] = text;
                            let taken = verifier.import(&KEY.file(&claims)).is_ok();
                            if taken {
                                newest = seq;
                                had.extend(keys.iter().map(|key| key.kid));
                            }
                            taken
                        }
                    };
                    taken.then_some((second, statuses))
                }
            };
            lists = match (lists, outcome) {
                (Some((before, held)), Some((second, now))) if before == second => {
                    Some((second, strict(held, now)))
                }
                (Some((before, held)), Some((second, _))) if before > second => Some((before, held)),
                (_, Some(outcome)) => Some(outcome),
                (lists, None) => lists,
            };
            for key in KEYS.iter().filter(|key| gone.contains(key.kid)) {
                prop_assert_eq!(by(&verifier, key), Err(KeyWithdrawn));
            }
            if let Some((_, statuses)) = lists {
                for (idx, status) in (IDX..).zip(statuses) {
                    let token = KEY.token(&claims_with("/status/status_list/idx", json!(idx)));
                    let outcome = verifier.verify(&token).map(|license| license.state());
                    let wanted = [Ok(Valid), Err(Revoked), Err(Suspended)][usize::from(status)];
                    prop_assert_eq!(outcome.map_err(|error| error.code()), wanted);
                }
            }
        }
    }
}
