//! Objects with known members.

/// Reads an object of the contract: every known member once and with its type. Unknown members go
/// to `extra`.
///
/// `object!(Name { field = "member" })` implements [`Read`](super::Read) for `Name`.
macro_rules! object {
    ($name:ident { $($field:ident = $member:literal),+ $(,)? }) => {
        impl<'a> $crate::json::Read<'a> for $name {
            fn read(
                reader: &mut $crate::json::Reader<'a>,
            ) -> Result<Self, $crate::json::Fault> {
                $(let mut $field = None;)+
                let mut extra = serde_json::Map::new();
                reader.object(|reader, name| match &*name {
                    $($member => $crate::json::keep(reader, $member, &mut $field),)+
                    _ => $crate::json::keep_unknown(reader, name, &mut extra),
                })?;
                Ok(Self { $($field: $crate::json::found($field, $member)?,)+ extra })
            }
        }
    };
}

pub(crate) use object;
