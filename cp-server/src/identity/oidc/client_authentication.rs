//! The authentication of this server as a client of an identity provider.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded::{self, byte_serialize};

use super::discovery::Discovery;
use crate::kernel::secret::Secret;

/// Returns the form and the header that authenticate the client (RFC 6749, section 2.3.1).
pub fn authenticated(
    client_id: &str,
    secret: Option<Secret<String>>,
    discovery: &Discovery,
    form: &[(&str, &str)],
) -> (String, Option<String>) {
    let mut text = form_urlencoded::Serializer::new(String::new());
    text.extend_pairs(form);
    let methods = &discovery.token_endpoint_auth_methods_supported;
    // Basic is the method of a provider that names none (RFC 8414, section 2).
    let takes_basic = methods.is_empty() || methods.iter().any(|one| one == "client_secret_basic");
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    match secret {
        Some(secret) if takes_basic => {
            let pair = format!("{}:{}", encoded(client_id), encoded(secret.expose()));
            return (text.finish(), Some(format!("Basic {}", STANDARD.encode(pair))));
        }
        Some(secret) => {
            text.append_pair("client_id", client_id).append_pair("client_secret", secret.expose());
        }
        None => {
            text.append_pair("client_id", client_id);
        }
    }
    (text.finish(), None)
}
