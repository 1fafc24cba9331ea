//! Lines of memberships.

use serde_json::Value;

use super::super::applied::{Applied, json_of};
use super::super::fields::Fields;
use super::super::references;
use crate::identity::memberships::row::{Membership, MembershipRow};
use crate::identity::memberships::{create, update};
use crate::kernel::access::ids::UserId;
use crate::kernel::access::place::Org;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Created;
use crate::kernel::http::cx::Cx;
use crate::kernel::text::Email;

pub async fn apply(cx: &mut Cx, mut fields: Fields) -> Result<Applied> {
    let organization = cx.at;
    let user = person(cx, &mut fields).await?;
    let known: Option<MembershipRow> = match user {
        Some(user) => {
            let tail = "WHERE memberships.organization_id = $1 AND memberships.user_id = $2
                          AND memberships.scope = 'organization'";
            cx.tx.select(tail).bind(organization).bind(user).opt().await?
        }
        None => None,
    };
    let Some(known) = known else {
        if let Some(user) = user {
            fields.remove("email");
            fields.set("user_id", user);
        }
        let org = Org::named(organization.to_string());
        let Created(made) = create(cx, org, fields.read()?).await?;
        return Applied::created("memberships.create", Some(organization), &made);
    };
    fields.remove("email");
    let id = known.id;
    let before = json_of(&Membership::from(known))?;
    let mut compared = before.clone();
    compared["role"] = role_of(&fields, &before["role"]);
    let Some(changed) = fields.without_equal(&compared) else {
        return Ok(Applied::unchanged(id));
    };
    let updated = update(cx, id, changed.read()?).await?;
    Applied::changed("memberships.update", Some(organization), before, &updated)
}

/// Returns the person of the line. An unknown `email` names a new person.
async fn person(cx: &mut Cx, fields: &mut Fields) -> Result<Option<UserId>> {
    let user = fields.take::<String>("user")?;
    match (user, fields.has("email")) {
        (Some(user), false) => references::user(cx, &user).await.map(Some),
        (None, true) => {
            let email: Email = fields.identity("email")?;
            references::user_by_email(cx, &email).await
        }
        _ => {
            let detail = "Exactly one of `user` and `email` is required.";
            Err(Error::invalid("user", detail))
        }
    }
}

/// Returns the member's role in the form in which the line names it: ID, code or short form.
fn role_of(fields: &Fields, known: &Value) -> Value {
    let given = fields.get("role").and_then(Value::as_str).unwrap_or_default();
    let code = known["code"].as_str().unwrap_or_default();
    let short = code.strip_prefix("ORGANIZATION_").unwrap_or(code);
    let names = [known["id"].as_str().unwrap_or_default(), code, short];
    match names.iter().any(|name| name.eq_ignore_ascii_case(given)) {
        true => given.into(),
        false => code.into(),
    }
}
