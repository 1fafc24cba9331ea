//! The text of a service token: `cpat_<id>_<secret>_<checksum>`, all parts hexadecimal.
//!
//! The id finds the row, the secret (256 random bits) is kept as its SHA-256 only, and the checksum
//! lets a secret scanner, and this server, tell junk without a look-up.

use uuid::Uuid;

use crate::identity::ids::TokenId;
use crate::kernel::secret::{ShownOnce, hex, sha256};

pub(super) const PREFIX: &str = "cpat_";

pub fn compose(id: TokenId, secret: &[u8; 32]) -> ShownOnce {
    let stem = format!("{PREFIX}{}_{}", id.0.simple(), hex(secret));
    let sum = checksum(&stem);
    ShownOnce::new(format!("{stem}_{sum}"))
}

fn checksum(stem: &str) -> String {
    hex(&sha256(stem.as_bytes())[..4])
}

/// The row that a token's text belongs to; `None` for a text that no server made.
pub fn id_of(text: &str) -> Option<TokenId> {
    let (stem, sum) = text.strip_prefix(PREFIX)?.rsplit_once('_')?;
    let (id, _) = stem.split_once('_')?;
    let valid = checksum(&format!("{PREFIX}{stem}")) == sum;
    valid.then(|| Uuid::try_parse(id).ok()).flatten().map(TokenId)
}

/// The operator's own bootstrap token, whose text has no id in it.
pub fn bootstrap_id(text: &str) -> TokenId {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&sha256(text.as_bytes())[16..]);
    TokenId(Uuid::new_v8(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::clock::Random;

    #[test]
    fn a_token_names_its_row_and_carries_a_checksum() {
        let id = TokenId(Uuid::from_u128(7));
        let text = compose(id, &Random::seeded(3).bytes());
        let text = text.expose();
        assert!(text.starts_with("cpat_00000000000000000000000000000007_"));
        assert_eq!(text.len(), 5 + 32 + 1 + 64 + 1 + 8);
        assert_eq!(id_of(text), Some(id));
        for (at, byte) in text.bytes().enumerate() {
            let other = if byte == b'0' { '1' } else { '0' };
            let mut bent = text.to_owned();
            bent.replace_range(at..=at, &other.to_string());
            assert_eq!(id_of(&bent), None, "character {at} was changed");
        }
    }
}
