//! Checked strings: the parser validates them, so an operation never receives an invalid one.

use std::borrow::Cow;

/// Declares a type of checked strings: its rule, its schema, and its column type for both
/// databases. A rule's message is a predicate, such as `must be an e-mail address`: the reader puts
/// the field before it.
#[macro_export]
macro_rules! texts {
    ($($(#[doc = $doc:literal])+ $name:ident, $rule:expr, $schema:tt;)+) => {$(
        $(#[doc = $doc])+
        #[derive(
            Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, sqlx::Type,
        )]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
            pub fn into_string(self) -> String {
                self.0
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                let rule: fn(&str) -> Result<std::borrow::Cow<'_, str>, String> = $rule;
                rule(text).map(|text| Self(text.into_owned()))
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    )+};
}

texts! {
    /// A display name: 1 to 255 characters. It contains no control characters, no invisible
    /// characters that change how other text is read, and at least one visible character. Spaces
    /// around it are removed.
    Name, |text| printable(text, 255).and_then(not_blank).map(|_| text.trim_matches(' ').into()),
        {"type": "string", "minLength": 1, "maxLength": 255, "examples": ["Acme Corp"]};
    /// A longer text for people: up to 4,000 characters. Line breaks are allowed, other control
    /// characters and invisible ones are not.
    Prose, prose, {"type": "string", "maxLength": 4000, "examples": ["Requested by the customer."]};
    /// The reason for a change: a text of 1 to 4,000 characters, at least one of them visible.
    Explanation, |text| prose(text).and_then(not_blank),
        {"type": "string", "minLength": 1, "maxLength": 4000,
         "examples": ["Requested by the customer."]};
    /// A reason: 1 to 1,000 characters.
    Reason, |text| printable(text, 1000).and_then(not_blank),
        {"type": "string", "minLength": 1, "maxLength": 1000, "examples": ["A launch in March."]};
    /// The caller's own reference: 1 to 255 printable characters.
    ExternalId, |text| printable(text, 255),
        {"type": "string", "minLength": 1, "maxLength": 255, "examples": ["crm-4711"]};
    /// A label that narrows something, such as a product; empty for all products.
    Label, |text| {
        if text.is_empty() { Ok(text.into()) } else { printable(text, 255) }
    }, {"type": "string", "maxLength": 255, "examples": ["console"]};
    /// The caller's own name for an object that is kept elsewhere: 1 to 255 printable characters.
    Reference, |text| printable(text, 255),
        {"type": "string", "minLength": 1, "maxLength": 255, "examples": ["run-42"]};
    /// A tag of an object: 1 to 64 printable characters, without a comma.
    Tag, |text| match printable(text, 64) {
        Ok(text) if !text.contains(',') => Ok(text),
        _ => Err("must have 1 to 64 printable characters, and no comma".into()),
    }, {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[^,]+$", "examples": ["emea"]};
    /// A path segment: lower-case letters and digits, with hyphens inside; never the form of a
    /// UUID.
    Slug, |text| {
        if uuid::Uuid::try_parse(text).is_ok() {
            return Err("must not have the form of a UUID".into());
        }
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let fits = (1..=64).contains(&text.len())
            && text.chars().all(|c| inner(c) || c == '-')
            && text.starts_with(inner)
            && text.ends_with(inner);
        if fits { Ok(text.into()) } else {
            Err("must be a slug: 1 to 64 of a-z, 0-9 and hyphens, with a letter or digit at both \
                 ends, such as \"acme-corp\"".into())
        }
    },
        {"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$",
         "examples": ["acme-corp"]};
    /// An e-mail address in the sense of the HTML living standard.
    Email, |text| {
        if is_email(text) { Ok(text.into()) } else {
            Err("must be an e-mail address such as anna@example.com".into())
        }
    },
        {"type": "string", "format": "email", "minLength": 3, "maxLength": 254,
         "examples": ["anna@example.com"]};
    /// A DNS domain in lower case.
    Domain, |text| {
        let domain = text.to_ascii_lowercase();
        // A domain whose last label is a number would be an IP address (RFC 3696, section 2).
        let is_named = domain.rsplit('.').next().is_some_and(|last| !is_number(last));
        let has_labels = domain.contains('.') && domain.split('.').all(is_label);
        if domain.len() <= 253 && has_labels && is_named {
            Ok(Cow::Owned(domain))
        } else {
            Err("must be a domain such as example.com".into())
        }
    }, {"type": "string", "minLength": 3, "maxLength": 253, "examples": ["example.com"]};
    /// An absolute http or https URL.
    HttpUrl, |text| match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host()
            && text.len() <= 2048 && !text.chars().any(|c| is_hidden(c) || c == ' ') =>
        {
            Ok(text.into())
        }
        _ => Err("must be an absolute http or https URL such as https://dp.example.com".into()),
    },
        {"type": "string", "format": "uri", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://", "maxLength": 2048,
         "examples": ["https://dp.example.com"]};
    /// A plan's code.
    PlanCode, |text| {
        let mut rest = text.chars();
        let fits = rest.next().is_some_and(|c| c.is_ascii_lowercase())
            && text.len() <= 64
            && rest.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'));
        if fits { Ok(text.into()) } else {
            Err("must be a plan code: one of a-z, then up to 63 of a-z, 0-9, _ and -".into())
        }
    }, {"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,63}$", "examples": ["team"]};
    /// A role's code.
    RoleCode, |text| {
        let mut rest = text.chars();
        let fits = rest.next().is_some_and(|c| c.is_ascii_uppercase())
            && (2..=64).contains(&text.len())
            && rest.all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        if fits { Ok(text.into()) } else {
            Err("must be a role code: one of A-Z, then 1 to 63 of A-Z, 0-9 and _".into())
        }
    }, {"type": "string", "pattern": "^[A-Z][A-Z0-9_]{1,63}$", "examples": ["BILLING_ADMIN"]};
    /// A permission of a role, such as `projects:read` or `data_sources.sales.query`.
    PermissionCode, |text| {
        let fits = (1..=128).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '*'));
        if fits { Ok(text.into()) } else {
            Err("must be a permission: 1 to 128 of letters, digits and _ - . : *".into())
        }
    }, {"type": "string", "pattern": "^[A-Za-z0-9_.:*-]{1,128}$", "examples": ["projects:read"]};
    /// The key of an identity provider: `auth0`, `zitadel`, or that of a registered one.
    ProviderKey, |text| {
        // `link` stands for a link to the console.
        let fits = (1..=128).contains(&text.len()) && text != "link"
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "._:/-".contains(c));
        if fits { Ok(text.into()) } else {
            Err("must be a provider key other than `link`: 1 to 128 of letters, digits and . _ : / -".into())
        }
    }, {"type": "string", "pattern": "^[A-Za-z0-9._:/-]{1,128}$", "examples": ["auth0"]};
    /// The location of a secret, in the syntax of its store, such as `vault://kv/app#token`.
    Locator, |text| printable(text, 2048),
        {"type": "string", "minLength": 1, "maxLength": 2048, "examples": ["vault://kv/app#token"]};
    /// The name of a reference to a secret.
    SecretName, |text| {
        let fits = (1..=128).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "._:/-".contains(c));
        if fits { Ok(text.into()) } else {
            Err("must be the name of a secret: 1 to 128 of letters, digits and . _ : / -".into())
        }
    },
        {"type": "string", "pattern": "^[A-Za-z0-9._:/-]{1,128}$",
         "examples": ["database/password"]};
    /// The ID of a signing key: base64url.
    KeyId, |text| {
        let fits = (1..=128).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._~".contains(c));
        if fits { Ok(text.into()) } else {
            Err("must be a key ID: 1 to 128 of letters, digits and - . _ ~".into())
        }
    }, {"type": "string", "pattern": "^[A-Za-z0-9._~-]{1,128}$", "examples": ["2026-01"]};
    /// The subject of a person at an identity provider: compared exactly, never trimmed or folded.
    Subject, |text| printable(text, 255),
        {"type": "string", "minLength": 1, "maxLength": 255, "examples": ["auth0|anna"]};
    /// A currency (ISO 4217).
    Currency, |text| {
        let code = text.to_ascii_uppercase();
        if code.len() == 3 && code.chars().all(|c| c.is_ascii_uppercase()) {
            Ok(Cow::Owned(code))
        } else {
            Err("must be an ISO 4217 currency code such as EUR".into())
        }
    }, {"type": "string", "pattern": "^[A-Za-z]{3}$", "examples": ["EUR"]};
}

impl Email {
    /// Returns the form that decides uniqueness.
    pub fn key(&self) -> String {
        self.0.to_lowercase()
    }
}

impl Slug {
    /// Returns the chosen slug, or one derived from the name.
    pub fn or_from(chosen: Option<Self>, name: &Name) -> crate::kernel::error::Result<Self> {
        chosen.or_else(|| Self::from_name(name.as_str())).ok_or_else(|| {
            let detail = "`slug` is required: none can be derived from this name.";
            crate::kernel::error::Error::invalid("slug", detail)
        })
    }

    /// Derives a slug from a name: transliterated and cut to length; `None` when no character is
    /// left.
    pub fn from_name(name: &str) -> Option<Self> {
        let mut slug = String::new();
        for c in deunicode::deunicode(name).chars() {
            if c.is_ascii_alphanumeric() {
                slug.push(c.to_ascii_lowercase());
            } else if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
        }
        // Leave room for the `-123` of a name that is taken.
        slug.truncate(56);
        slug.trim_end_matches('-').parse().ok()
    }

    /// Returns the slug with a number appended.
    pub fn numbered(&self, n: u32) -> Self {
        let number = format!("-{n}");
        let stem = &self.0[..self.0.len().min(64 - number.len())];
        Self(stem.trim_end_matches('-').to_owned() + &number)
    }

    pub fn random(random: &crate::kernel::clock::Random) -> Self {
        Self(format!("org-{}", crate::kernel::secret::hex(&random.bytes::<6>())))
    }
}

/// Encodes a string as one segment of a path (RFC 3986, section 3.3).
pub fn path_segment(text: &str) -> String {
    // A form encodes a blank as `+`; in a path, `+` stands for itself.
    let parts = url::form_urlencoded::byte_serialize(text.as_bytes());
    parts.map(|part| if part == "+" { "%20" } else { part }).collect()
}

/// Quotes a caller's string for a message, cut after 64 characters.
///
/// Only for values that are not secret by their meaning. Messages never quote a value that could
/// not be parsed, because it may be a secret in the wrong place.
pub fn quoted(text: &str) -> String {
    let cut = if text.chars().nth(64).is_some() { "…" } else { "" };
    let shown: String = text.chars().take(64).collect();
    format!("\"{}\"{cut}", shown.escape_debug())
}

/// Quotes the name of an unknown member or parameter if it has the form of a name. Otherwise
/// returns only its length, because it may be any value.
pub fn named(name: &str) -> String {
    let is_name = (1..=40).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    if is_name {
        return format!("`{name}`");
    }
    format!("a name of {} characters", name.chars().count())
}

/// Returns the pattern of `LIKE … ESCAPE '\\'` for lower-case strings that contain the text.
pub fn like(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c.to_ascii_lowercase());
    }
    pattern.push('%');
    pattern
}

fn printable(text: &str, most: usize) -> Result<Cow<'_, str>, String> {
    let length = text.chars().count();
    if length == 0 || length > most {
        return Err(format!("must have 1 to {most} characters (got {length})"));
    }
    without_hidden(text, &[])
}

fn prose(text: &str) -> Result<Cow<'_, str>, String> {
    if text.chars().count() > 4000 {
        return Err("must have at most 4000 characters".into());
    }
    without_hidden(text, &['\n', '\r', '\t', '\u{2028}', '\u{2029}'])
}

fn without_hidden<'t>(text: &'t str, allowed: &[char]) -> Result<Cow<'t, str>, String> {
    match text.chars().find(|c| is_hidden(*c) && !allowed.contains(c)) {
        Some(c) if c.is_control() => {
            Err(format!("must not contain the control character U+{:04X}", u32::from(c)))
        }
        Some(c) => Err(format!("must not contain the invisible character U+{:04X}", u32::from(c))),
        None => Ok(text.into()),
    }
}

/// Whether a character changes how the text around it is read, and is refused in a single-line
/// string. These are control characters, line separators, overrides and isolates of the direction
/// (UAX #9), the zero-width space and the byte order mark. Joiners and direction marks belong to
/// scripts and emoji, and are allowed.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Whether the character is invisible: a string of only such characters looks empty.
fn is_blank(c: char) -> bool {
    c.is_whitespace()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180e}' | '\u{200c}'..='\u{200f}' | '\u{2060}'..='\u{2064}'
            | '\u{206a}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
}

fn not_blank(text: Cow<'_, str>) -> Result<Cow<'_, str>, String> {
    if text.chars().all(is_blank) { Err("must not be blank".into()) } else { Ok(text) }
}

/// <https://html.spec.whatwg.org/multipage/input.html#valid-e-mail-address>, with the length that
/// RFC 5321 section 4.5.3.1.3 leaves for an address.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    text.len() <= 254
        && !local.is_empty()
        && local.bytes().all(|b| b.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&b))
        && domain.split('.').all(is_label)
}

/// A DNS label: letters, digits and inner hyphens, at most 63 characters.
fn is_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
        && bytes[0] != b'-'
        && bytes[bytes.len() - 1] != b'-'
}

fn is_number(label: &str) -> bool {
    label.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_derived_from_names() {
        let made = |name| Slug::from_name(name).map(Slug::into_string);
        assert_eq!(made("Acme Corp").as_deref(), Some("acme-corp"));
        assert_eq!(made("  Müller & Söhne GmbH ").as_deref(), Some("muller-sohne-gmbh"));
        assert_eq!(made("北京").as_deref(), Some("bei-jing"));
        assert_eq!(made("!!!"), None);
        let long = "x".repeat(255);
        assert_eq!(made(&long).map(|s| s.len()), Some(56));
        assert_eq!(made("0190e0a0-0000-7000-8000-000000000000"), None, "a slug is never an id");
        let slug: Slug = "a".repeat(64).parse().unwrap();
        assert_eq!(slug.numbered(12).as_str(), format!("{}-12", "a".repeat(61)));
    }

    #[test]
    fn text_with_invisible_characters_is_refused() {
        let overrides = ('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}');
        let hidden = overrides.chain(['\u{200b}', '\u{feff}', '\0', '\u{7}', '\u{7f}', '\u{85}']);
        for c in hidden {
            let text = format!("a{c}b");
            assert!(text.parse::<Name>().is_err(), "{c:?}");
            assert!(text.parse::<Prose>().is_err(), "{c:?}");
            assert!(text.parse::<ExternalId>().is_err(), "{c:?}");
            assert!(text.parse::<Label>().is_err(), "{c:?}");
            assert!(text.parse::<Reference>().is_err(), "{c:?}");
            assert!(text.parse::<Locator>().is_err(), "{c:?}");
            assert!(text.parse::<Subject>().is_err(), "{c:?}");
            assert!(format!("https://a.example/{text}").parse::<HttpUrl>().is_err(), "{c:?}");
        }
        assert!("a\u{2028}b".parse::<Name>().is_err());
        for good in [
            "Team \u{1f469}\u{200d}\u{1f4bb}",
            "\u{646}\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}",
            "\u{915}\u{94d}\u{200d}\u{937}",
            "\u{5d0}\u{200f}!",
            "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            "\u{2764}\u{fe0f}",
            "soft\u{ad}hyphen",
        ] {
            assert_eq!(good.parse::<Name>().as_ref().map(Name::as_str), Ok(good));
            assert!(good.parse::<Prose>().is_ok(), "{good:?}");
        }
        assert!("one\r\n\ttwo\u{2028}three".parse::<Prose>().is_ok());
        assert_eq!("  Acme Corp ".parse::<Name>().as_ref().map(Name::as_str), Ok("Acme Corp"));
        for blank in [" ", "\u{200d}", "\u{a0}\u{200c}", "\u{3164}", "\u{2800}", "\u{2060}"] {
            assert_eq!(blank.parse::<Name>().unwrap_err(), "must not be blank", "{blank:?}");
        }
        for blank in ["", " ", "\n\t", "\u{200d}", "\u{3164}"] {
            assert!(blank.parse::<Prose>().is_ok(), "{blank:?}");
            let refused = blank.parse::<Explanation>().unwrap_err();
            assert_eq!(refused, "must not be blank", "{blank:?}");
        }
        assert!(" one\ntwo ".parse::<Explanation>().is_ok());
    }

    #[test]
    fn slugs_and_addresses_are_checked() {
        for good in ["a", "7", "ab", "a-b", "acme-2"] {
            assert!(good.parse::<Slug>().is_ok(), "{good}");
        }
        let long = "a".repeat(65);
        for bad in ["", "-a", "a-", "A", "a_b", "a b", "é", &long] {
            assert!(bad.parse::<Slug>().is_err(), "{bad}");
        }
        for good in ["a@b", "anna@example.com", "a.b+c@x-y.example", "o'neil@example.com"] {
            assert!(good.parse::<Email>().is_ok(), "{good}");
        }
        for bad in ["", "a", "@b", "a@", "a@-b", "a@b-", "a@b..c", "a b@c", "a@b c", "ä@b"] {
            assert!(bad.parse::<Email>().is_err(), "{bad}");
        }
        for good in ["example.com", "3com.example", "4.x"] {
            assert!(good.parse::<Domain>().is_ok(), "{good}");
        }
        for bad in ["", "com", ".com", "a..b", "-a.b", "a_b.c", "1.2.3.4", "example.007"] {
            assert!(bad.parse::<Domain>().is_err(), "{bad}");
        }
    }
}
