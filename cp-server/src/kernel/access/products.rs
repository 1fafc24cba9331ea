//! Product labels that restrict a login.
//!
//! A login is restricted if its provider names products and `all` is not one of them. Such a person
//! sees the rows of these products and of product `''`, and changes the rows of these products only.

use cp_contracts::ProblemCode;

use crate::kernel::access::caller::Caller;
use crate::kernel::db::query::Rows;
use crate::kernel::db::values::Row;
use crate::kernel::error::{Error, Result};

/// Returns the products that the login is restricted to; `None` for all products.
fn restriction(caller: &Caller) -> Option<&[String]> {
    let products = caller.login.as_deref()?.products.as_slice();
    let is_restricted = !products.is_empty() && !products.iter().any(|label| label == "all");
    is_restricted.then_some(products)
}

/// Refuses a row of another product.
///
/// # Errors
/// 403 at `product`.
pub fn refuse_reading(caller: &Caller, product: &str) -> Result<()> {
    match restriction(caller) {
        Some(own) if !product.is_empty() && !own.iter().any(|label| label == product) => {
            Err(refusal(own))
        }
        _ => Ok(()),
    }
}

/// Refuses to change a row of another product, or of product `''`.
///
/// # Errors
/// 403 at `product`.
pub fn refuse_changing(caller: &Caller, product: &str) -> Result<()> {
    match restriction(caller) {
        Some(own) if !own.iter().any(|label| label == product) => Err(refusal(own)),
        _ => Ok(()),
    }
}

/// Keeps the rows that the caller may read, of which `column` is the product.
pub fn visible<'c, R: Row + 'c>(
    rows: Rows<'c, R>,
    caller: &Caller,
    column: &'static str,
) -> Rows<'c, R> {
    let Some(own) = restriction(caller) else { return rows };
    let rows = rows.sql(" AND (").sql(column).sql(" = '' OR ").sql(column).sql(" IN (VALUES ");
    rows.rows(own, |query, label| query.bind(label.as_str())).sql("))")
}

fn refusal(own: &[String]) -> Error {
    let detail = format!("`product` must be one of the login's products: {}.", own.join(", "));
    Error::new(ProblemCode::Forbidden, detail).at("product")
}
