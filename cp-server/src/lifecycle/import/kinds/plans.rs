//! Lines of plans.

use cp_contracts::ProblemCode;

use super::super::applied::{Applied, json_of};
use super::super::fields::Fields;
use crate::kernel::access::caller::Scope;
use crate::kernel::access::platform::{Platform, PlatformRow};
use crate::kernel::error::Result;
use crate::kernel::http::answer::Created;
use crate::kernel::http::cx::Cx;
use crate::kernel::text::PlanCode;
use crate::licensing::plans::{create, newest, update};

pub async fn apply(cx: &mut Cx<Scope>, mut fields: Fields) -> Result<Applied> {
    let code: PlanCode = fields.identity("code")?;
    let known = match newest(cx, code.as_str()).await {
        Ok(plan) => plan,
        Err(error) if *error.code() == ProblemCode::NotFound => {
            let Created(plan) = create(cx, Platform, fields.read()?).await?;
            return Applied::created("plans.create", None, &plan);
        }
        Err(error) => return Err(error),
    };
    // The code may be another name of the plan.
    fields.remove("code");
    let before = json_of(&known)?;
    let Some(changed) = fields.without_equal(&before) else {
        return Ok(Applied::unchanged(known.code));
    };
    update(cx, PlatformRow(code.clone()), changed.read()?).await?;
    let plan = newest(cx, code.as_str()).await?;
    Applied::changed("plans.update", None, before, &plan)
}
