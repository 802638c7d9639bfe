//! The operations that a macaroon permits.

use std::collections::{BTreeMap, BTreeSet};

/// A set of operations: pairs of an entity (`offchain`, `invoices`, `uri`, ...) and an action (`read`,
/// `write`, `generate`, or the full name of a method for `uri`). Sorted, as lnd writes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Operations(BTreeMap<String, BTreeSet<String>>);

impl Operations {
    /// Returns whether `action` on `entity` is permitted.
    pub fn contain(&self, entity: &str, action: &str) -> bool {
        let actions = self.0.get(entity);
        actions.is_some_and(|actions| actions.contains(action))
    }

    /// Returns each entity with its actions, in ascending order.
    pub fn by_entity(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = &str>)> {
        let entities = self.0.iter();
        entities.map(|(entity, actions)| (entity.as_str(), actions.iter().map(String::as_str)))
    }
}

impl<E: Into<String>, A: Into<String>> FromIterator<(E, A)> for Operations {
    fn from_iter<T: IntoIterator<Item = (E, A)>>(pairs: T) -> Self {
        let mut operations = Self::default();
        for (entity, action) in pairs {
            let actions = operations.0.entry(entity.into()).or_default();
            actions.insert(action.into());
        }
        operations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_actions_only_on_their_own_entity() {
        let operations: Operations = [("info", "read"), ("offchain", "write")]
            .into_iter()
            .collect();
        assert!(operations.contain("info", "read"));
        for (entity, action) in [("info", "write"), ("offchain", "read"), ("peers", "read")] {
            assert!(!operations.contain(entity, action), "{entity} {action}");
        }
    }
}
