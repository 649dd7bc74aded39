//! All commands, found by name.
//!
//! Each family keeps its own list beside the functions that execute it; here they are put in order once, at start.
//! A command's place in that order is its number: latencies are recorded by it.

use super::command::Command;
use super::{connection, info, introspection, keys, mesh, pubsub, server, strings};

/// The commands of this server, sorted by name.
#[derive(Debug)]
pub struct Table {
    commands: Vec<&'static Command>,
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

impl Table {
    /// No command's name is longer; `COMMAND`s sent to other servers are not looked up for more.
    const NAME_LEN_MAX: usize = 24;

    /// All families together.
    pub fn new() -> Self {
        let families = [
            connection::COMMANDS,
            info::COMMANDS,
            introspection::COMMANDS,
            keys::COMMANDS,
            mesh::COMMANDS,
            mesh::LEASES,
            mesh::REPORTS,
            pubsub::COMMANDS,
            server::COMMANDS,
            strings::COMMANDS,
        ];
        let mut commands: Vec<&Command> = families.into_iter().flatten().collect();
        commands.sort_unstable_by_key(|command| command.name);
        Self { commands }
    }

    /// The command of that name, in any case, and its number.
    pub fn find(&self, name: &[u8]) -> Option<(usize, &'static Command)> {
        let mut lower = [0; Self::NAME_LEN_MAX];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        let place = self.commands.binary_search_by_key(&&*lower, |command| command.name.as_bytes()).ok()?;
        Some((place, self.commands[place]))
    }

    /// How many there are, subcommands not counted.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether there are none, which would be a mistake.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// All of them in order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'static Command> {
        self.commands.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<&'static Command> {
        let table = Table::new();
        table.iter().flat_map(|command| std::iter::once(command).chain(command.subcommands)).collect()
    }

    #[test]
    fn every_command_is_found_in_any_case_and_under_one_name() {
        let table = Table::new();
        for (number, command) in table.iter().enumerate() {
            assert!(command.name.len() <= Table::NAME_LEN_MAX);
            assert_eq!(table.find(command.name.to_uppercase().as_bytes()).map(|(found, _)| found), Some(number));
        }
        assert!(table.find(b"nosuch").is_none());
        assert!(table.find(&[b'x'; 300]).is_none());
        assert!(table.find(b"").is_none());
    }

    #[test]
    fn every_command_says_what_it_does() {
        for command in all() {
            assert!(!command.summary.is_empty(), "{}", command.name);
            assert!(command.name.bytes().all(|byte| !byte.is_ascii_uppercase()), "{}", command.name);
            let first_key_exists = i32::try_from(command.keys.first).unwrap() < command.arity.abs();
            assert!(first_key_exists, "{}", command.name);
        }
    }
}
