//! Setting up a customer: five short forms, each a page of its own.
//!
//! Each step makes one change and leads to the next one. A person who leaves keeps what exists, and
//! comes back by the address of the page.

use axum::response::Response;
use cp_contracts::ProblemCode;
use serde_json::{Map, Value};

use crate::console::generic::edit;
use crate::console::generic::tasks::Task;
use crate::console::html::{Markup, html};
use crate::console::scene::Scene;
use crate::console::view::{View, query};
use crate::console::words;
use crate::kernel::error::{Error, Result};

crate::pages! { setup:
    /// The next step.
    GET "/setup" calls [organizations.create, subscriptions.create, deployments.create,
        licenses.create, bundles.issue] => show;
    /// Makes the change of the step.
    POST "/setup" calls [organizations.create, subscriptions.create, deployments.create,
        licenses.create, bundles.issue] => send;
}

/// A step: its noun, its operation, the entries that it shows, and what it is for.
struct Step {
    noun: &'static str,
    operation: &'static str,
    /// The step before whose thing is in the operation's path.
    under: Option<&'static str>,
    fields: &'static [&'static str],
    about: &'static str,
}

const STEPS: [Step; 5] = [
    Step {
        noun: "organization",
        operation: "organizations.create",
        under: None,
        fields: &["name", "slug", "owner", "external_id"],
        about: "An organization is a customer: a tenant with its own people, plans and licenses.",
    },
    Step {
        noun: "subscription",
        operation: "subscriptions.create",
        under: Some("organization"),
        fields: &["plan_code", "status", "seat_cap", "starts_at", "ends_at", "trial_ends_at"],
        about: "A subscription gives the customer a plan: features, limits and seats.",
    },
    Step {
        noun: "deployment",
        operation: "deployments.create",
        under: Some("organization"),
        fields: &["name", "type", "region", "api_base_url"],
        about: "A deployment is one installation of your product. A license is for a deployment.",
    },
    Step {
        noun: "license",
        operation: "licenses.create",
        under: Some("deployment"),
        fields: &["name", "subscription_id", "valid_from", "valid_until", "grace_days", "seat_cap"],
        about: "A license permits the deployment to run, under the subscription.",
    },
    Step {
        noun: "token",
        operation: "bundles.issue",
        under: Some("license"),
        fields: &["audience", "ttl_seconds", "form"],
        about: "The token is what the deployment receives. It is shown once.",
    },
];

/// What exists already: the values of the page's address.
fn known(view: &View, noun: &str) -> Option<String> {
    view.asked(noun).filter(|id| !id.is_empty()).map(str::to_owned)
}

/// Returns the address of the page with what exists.
fn path(view: &View) -> String {
    let known: Vec<(&str, String)> =
        STEPS.iter().filter_map(|step| Some((step.noun, known(view, step.noun)?))).collect();
    match known.is_empty() {
        true => "/setup".to_owned(),
        false => {
            let pairs = known.iter().map(|(noun, id)| (*noun, id.as_str()));
            format!("/setup?{}", query(pairs))
        }
    }
}

/// Returns the task of the next step.
async fn task(view: &mut View) -> Result<(Scene, Task)> {
    let at = STEPS.iter().position(|step| known(view, step.noun).is_none()).unwrap_or(4);
    let step = &STEPS[at];
    if let Some(organization) = known(view, "organization") {
        view.enter_organization(&organization).await?;
    }
    let missing = || Error::not_found("page");
    if !view.may(step.operation) {
        let detail = format!("You may not set up the {} of a customer.", step.noun);
        return Err(Error::new(ProblemCode::Forbidden, detail));
    }
    let resources = view.resources.clone();
    let operation = resources.named(step.operation).ok_or_else(missing)?;
    let above = match step.under {
        Some(noun) => vec![known(view, noun).ok_or_else(missing)?],
        None => Vec::new(),
    };
    let mut task = Task::of(view, operation, above);
    task.fields.retain(|field| step.fields.contains(&&*field.name));
    let order = |name: &str| step.fields.iter().position(|known| *known == name);
    task.fields.sort_by_key(|field| order(&field.name));
    if let (true, Some(subscription)) = (step.noun == "license", known(view, "subscription")) {
        task.fields.retain(|field| field.name != "subscription_id");
        task.fixed = Map::from_iter([("subscription_id".to_owned(), Value::from(subscription))]);
    }
    task.title = format!("Set up a customer: {}", step.noun);
    task.about = format!("Step {} of {}. {}", at + 1, STEPS.len(), step.about);
    task.button = match step.noun {
        "token" => "Issue a token".to_owned(),
        noun => format!("Create the {noun}"),
    };
    let own = path(view);
    let separator = if own.contains('?') { '&' } else { '?' };
    task.follows = Some(format!("{own}{separator}{}=", step.noun));
    task.back = match known(view, "organization") {
        Some(organization) => format!("/organizations/{organization}"),
        None => "/organizations".to_owned(),
    };
    task.action = Some(own);
    task.done = format!("The {} was created.", step.noun);
    let scene = Scene::by_hand("/setup", Vec::new());
    Ok((scene, task))
}

async fn show(view: &mut View) -> Result<Response> {
    let (scene, task) = task(view).await?;
    let steps = steps(view);
    // What exists is in the address; it fills in no entry.
    view.query.clear();
    edit::form_beside(view, &scene, task, &steps).await
}

/// The steps, with the present one.
fn steps(view: &View) -> Markup {
    let at = STEPS.iter().position(|step| known(view, step.noun).is_none());
    html! {
        ol.steps aria-label="Steps" {
            @for (n, step) in STEPS.iter().enumerate() {
                li class=[at.is_none_or(|at| n < at).then_some("done")] aria-current=[(at == Some(n)).then_some("step")] {
                    (words::capitalized(step.noun))
                }
            }
        }
    }
}

async fn send(view: &mut View) -> Result<Response> {
    let (mut scene, task) = task(view).await?;
    scene.values.clone_from(&task.place);
    edit::send(view, &scene, task).await
}
