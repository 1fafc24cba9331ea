//! Identifiers at the provider.

use crate::kernel::text::is_hidden;

/// The most characters of an identifier.
pub const LONGEST: usize = 200;

crate::texts! {
    /// The key of a role at the provider, without the prefix: 1 to 200 printable characters.
    RoleKey, |text| check(text).map(Into::into),
        {"type": "string", "minLength": 1, "maxLength": 200, "examples": ["account_admin"]};
    /// An ID at the provider: 1 to 200 printable characters.
    RemoteId, |text| match text.bytes().all(|b| b == b'.') {
        // Such an ID would change the path of a request.
        true => Err("must not consist of dots".into()),
        false => check(text).map(Into::into),
    }, {"type": "string", "minLength": 1, "maxLength": 200, "examples": ["283746501928374650"]};
}

/// Checks the length and the characters of an identifier.
///
/// # Errors
/// The rule, to follow the name of the field.
pub fn check(text: &str) -> Result<&str, String> {
    let length = text.chars().count();
    if (1..=LONGEST).contains(&length) && !text.chars().any(is_hidden) {
        return Ok(text);
    }
    Err(format!("must have 1 to {LONGEST} printable characters"))
}
