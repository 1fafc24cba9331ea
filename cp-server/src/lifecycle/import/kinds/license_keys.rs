//! Lines of license keys, of this product or of another system.

use cp_contracts::ProblemCode;

use super::super::applied::{Applied, json_of};
use super::super::fields::Fields;
use super::super::references;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Created;
use crate::kernel::http::cx::Cx;
use crate::kernel::secret::Secret;
use crate::licensing::license_keys::rows::{KeyText, LicenseKey, find};
use crate::licensing::license_keys::{create, update};

pub async fn apply(cx: &mut Cx, mut fields: Fields) -> Result<Applied> {
    let license = references::licensed(cx, &mut fields).await?;
    let text: Secret<String> = fields.identity("key")?;
    let key = KeyText::read(&cx.app, &text)?;
    let organization = Some(cx.at);
    let Some(found) = find(&mut cx.tx, &key.hash()).await? else {
        let Created(made) = create(cx, license, fields.read()?).await?;
        return Applied::created("license_keys.create", organization, &made);
    };
    if found.license_id != license {
        let detail = format!(
            "`key` is the key of license {}: a key is unique on this server. Change that license, \
             or give this one another key.",
            found.license_id
        );
        return Err(Error::new(ProblemCode::CodeTaken, detail).at("key"));
    }
    if !found.is_current() {
        let detail = "`key` was replaced by a rotation. The license has a newer key.";
        return Err(Error::new(ProblemCode::CodeTaken, detail).at("key"));
    }
    fields.remove("key");
    let known: LicenseKey = cx.tx.select("WHERE id = $1").bind(found.id).one().await?;
    let before = json_of(&known)?;
    let Some(changed) = fields.without_equal(&before) else {
        return Ok(Applied::unchanged(known.id));
    };
    let updated = update(cx, known.id, changed.read()?).await?;
    Applied::changed("license_keys.update", organization, before, &updated)
}
