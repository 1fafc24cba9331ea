//! An example resource to copy: the notes of an organization. Only the tests serve it.
//!
//! It consists of this file, one migration in two folders, one test file, the module's line and the
//! routes' line. The declarations determine the ID's owner, the permissions and their system roles,
//! purge and export, and the message for a taken name. The routes determine authorization, audit,
//! OpenAPI, the command line and the sweeps of the tests.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::kernel::access::ids::OrganizationId;
use crate::kernel::access::place::Org;
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::error::Result;
use crate::kernel::http::answer::{Created, NoContent, Resource};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::page::{List, NoFilter, Page};
use crate::kernel::section::Section;
use crate::kernel::text::Name;

crate::ids! {
    NoteId, "note" of notes.organization_id;
}

crate::permissions! {
    /// Read notes.
    NOTES_READ = "notes:read", held by ["ORGANIZATION_VIEWER"];
    /// Create and delete notes.
    NOTES_WRITE = "notes:write", held by ["ORGANIZATION_MEMBER"];
}

pub static DECLARATION: Declaration =
    Declaration::of_organization("notes", "note", Export::Section(Section::many::<Note>("notes")))
        .permissions(PERMISSIONS);

crate::routes! {
    /// The notes of an organization.
    notes declares DECLARATION:
    /// Lists the organization's notes.
    GET "/organizations/{org}/notes" NOTES_READ => list;
    /// Creates a note.
    POST "/organizations/{org}/notes" NOTES_WRITE => create, harmless;
    /// Returns a note.
    GET "/notes/{id}" NOTES_READ => read;
    /// Deletes a note.
    DELETE "/notes/{id}" NOTES_WRITE => delete, harmless;
}

crate::record! {
    /// A note.
    Note in notes {
        id: NoteId,
        organization_id: OrganizationId,
        name: Name,
        created_at: DateTime<Utc>,
    }
}

impl Resource for Note {
    const NOUN: &'static str = "note";
    const PATH: &'static str = "notes";
    fn name(&self) -> String {
        self.id.to_string()
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewNote {
    /// The note's name, unique within the organization.
    name: Name,
}

async fn list(cx: &mut Cx, _: Org, list: List<NoFilter>) -> Result<Page<Note>> {
    list.page(cx.tx.select("WHERE organization_id = $1").bind(cx.at)).await
}

async fn create(cx: &mut Cx, _: Org, new: NewNote) -> Result<Created<Note>> {
    let sql = "INSERT INTO notes (id, organization_id, name, created_at) VALUES ($1, $2, $3, $4)";
    let id = NoteId::new(&cx.app.random, cx.now);
    let insert = cx.tx.returning(sql).bind(id).bind(cx.at).bind(new.name).bind(cx.now);
    Ok(Created(insert.one().await?))
}

async fn read(cx: &mut Cx, id: NoteId) -> Result<Note> {
    let found = cx.tx.select("WHERE id = $1 AND organization_id = $2").bind(id).bind(cx.at);
    Ok(found.one().await?)
}

async fn delete(cx: &mut Cx, id: NoteId) -> Result<NoContent> {
    let sql = "DELETE FROM notes WHERE id = $1 AND organization_id = $2";
    cx.tx.q(sql).bind(id).bind(cx.at).exec().await?;
    Ok(NoContent)
}
