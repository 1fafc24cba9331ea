//! PEM as OpenSSL reads it, in the form that the parser accepts.
//!
//! # Design
//! The parser is strict about RFC 7468. Editors and other tools add a byte order mark, blanks at
//! the ends of lines, blank lines, comments around the block, or one long line. The reader removes
//! these additions. The key itself is checked as strictly as before.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// The number of bytes of a line in PEM.
const WIDTH: usize = 64;

/// Returns the only block of the file in its strict form. A file without a whole block, and a block
/// with headers, stay unchanged: the parser refuses them with its own messages.
pub(super) fn strict(text: &str) -> Zeroizing<String> {
    let as_it_is = || Zeroizing::new(text.to_owned());
    let mut lines = text
        .lines()
        .map(|line| line.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\u{feff}'));
    let Some(begin) = lines.find(|line| line.starts_with("-----BEGIN ")) else { return as_it_is() };
    let mut body = Zeroizing::new(String::with_capacity(text.len()));
    let end = loop {
        match lines.next() {
            Some(line) if line.starts_with("-----END ") => break line,
            Some(line) if !line.contains(':') && !line.starts_with("-----") => body.push_str(line),
            _ => return as_it_is(),
        }
    };
    // The caller refuses several blocks.
    if lines.any(|line| line.starts_with("-----BEGIN ")) {
        return as_it_is();
    }
    let mut strict = Zeroizing::new(String::with_capacity(text.len() + text.len() / WIDTH + 128));
    strict.push_str(begin);
    strict.push('\n');
    let mut column = 0;
    for c in body.chars() {
        if column == WIDTH {
            strict.push('\n');
            column = 0;
        }
        strict.push(c);
        column += 1;
    }
    strict.push('\n');
    strict.push_str(end);
    strict.push('\n');
    strict
}

/// Returns whether the bytes are a DER structure.
pub(super) fn is_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, 0x80..=0x84, ..])
}

/// Returns whether a strict block is encrypted with 3DES: `pbeWithSHAAnd3-KeyTripleDES-CBC` and its
/// form with two keys (RFC 7292, appendix C), or `DES-EDE3-CBC` (RFC 8018, appendix B.2.2).
pub(super) fn is_triple_des(text: &str) -> bool {
    const PBE: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01];
    const CBC: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x03, 0x07];
    let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let Ok(der) = STANDARD.decode(body) else { return false };
    let has_pbe = der.windows(10).any(|w| w[..9] == PBE && matches!(w[9], 3 | 4));
    has_pbe || der.windows(8).any(|w| w == CBC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_with_loose_edges_becomes_strict() {
        let (first, last) = ("A".repeat(64), "B".repeat(20));
        let right =
            format!("-----BEGIN PRIVATE KEY-----\n{first}\n{last}\n-----END PRIVATE KEY-----\n");
        for loose in [
            right.clone(),
            format!("{right}\n\n"),
            right.replace('\n', "  \n"),
            right.replace('\n', "\r\n"),
            format!("\u{feff}{right}"),
            format!("# mine\n{right}# end\n"),
            format!("-----BEGIN PRIVATE KEY-----\n\n{first}{last}\n\n-----END PRIVATE KEY-----"),
        ] {
            assert_eq!(*strict(&loose), right, "{loose:?}");
        }
        for other in [
            "",
            "ssh-rsa AAAA",
            &right[..40],
            &right.repeat(2),
            "-----BEGIN A-----\nProc-Type: 4\n-----END A-----\n",
        ] {
            assert_eq!(*strict(other), other);
        }
        assert!(
            is_der(&[0x30, 0x82, 4, 0xbd, 2, 1]) && !is_der(b"0\x01") && !is_der(right.as_bytes())
        );
    }
}
