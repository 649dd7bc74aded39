//! Leases as this agent holds them: who holds which key, and what is still bound of it.
//!
//! A lease is a value in a namespace of its own, replicated like any other; here is the list of them by holder, kept in
//! step with the rows, so that a holder's death costs as much as it held. About 100 bytes of memory for each lease.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use bytes::Bytes;
use everett_mesh_proto::id::Dot;
use everett_mesh_proto::lease::LeaseKey;
use everett_mesh_proto::replica::{Edit, Expiry};
use everett_mesh_proto::rows::{Row, Rows};
use everett_mesh_proto::time::Now;
use everett_mesh_proto::wire;

use super::{Data, LEASES};
use crate::store::StoreError;

/// The leases there are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Leases {
    by_holder: BTreeMap<String, BTreeSet<LeaseKey>>,
}

impl Leases {
    /// A lease's row is there, or no longer.
    pub(super) fn note(&mut self, row_key: &[u8], is_there: bool) {
        // What no agent of this version wrote binds nothing.
        let Some(lease) = LeaseKey::from_bytes(row_key).filter(|lease| lease.space < LEASES) else { return };
        if is_there {
            self.by_holder.entry(lease.holder.clone()).or_default().insert(lease);
        } else if let Some(held) = self.by_holder.get_mut(&lease.holder) {
            held.remove(&lease);
            if held.is_empty() {
                self.by_holder.remove(&lease.holder);
            }
        }
    }

    /// Whoever holds any, by name.
    pub fn holders(&self) -> impl Iterator<Item = &str> {
        self.by_holder.keys().map(String::as_str)
    }

    /// What a node holds, by namespace and key.
    pub fn of(&self, holder: &str) -> impl Iterator<Item = &LeaseKey> {
        self.by_holder.get(holder).into_iter().flatten()
    }

    /// Whether there is this lease.
    pub fn has(&self, lease: &LeaseKey) -> bool {
        self.by_holder.get(&lease.holder).is_some_and(|held| held.contains(lease))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_holder.values().map(BTreeSet::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_holder.is_empty()
    }
}

impl Data {
    /// The leases there are; read from the rows the first time, and kept in step with them from then on.
    pub fn leases(&mut self) -> Result<&Leases, StoreError> {
        if self.rows.leases.is_none() {
            let mut leases = Leases::default();
            self.rows.range(self.space(LEASES), 0, &mut |row_key, row| {
                if matches!(row, Row::Scalar(_)) {
                    leases.note(&row_key.key_bytes(), true);
                }
                ControlFlow::Continue(())
            })?;
            self.rows.leases = Some(leases);
        }
        Ok(self.rows.leases.get_or_insert_default())
    }

    /// How many leases there are, if they were ever looked at.
    pub fn leases_known(&self) -> usize {
        self.rows.leases.as_ref().map_or(0, Leases::len)
    }

    /// The edit of the namespace of leases that binds a key, with what can be seen of it now, to a node.
    pub fn bind(&self, now: Now, lease: &LeaseKey) -> Result<Edit, StoreError> {
        let found = self.replica.parts(now, &self.rows, self.space(lease.space), &lease.key)?;
        Ok(Edit::Set { key: lease.to_bytes(), value: wire::encode_lease(&found), expiry: Expiry::Clear })
    }

    /// What a lease still binds of its key.
    pub fn bound(&mut self, now: Now, lease: &LeaseKey) -> Result<Vec<Dot>, StoreError> {
        let value = self.view(now, LEASES, &lease.to_bytes())?.value;
        let found = value.and_then(|value| wire::decode_lease(&value.to_bytes()).ok()).unwrap_or_default();
        let parts = self.replica.parts(now, &self.rows, self.space(lease.space), &lease.key)?;
        Ok(lease.bound(&found, &parts))
    }

    /// The edit of the namespace of leases that ends one.
    pub fn unbind(lease: &LeaseKey) -> Edit {
        Edit::Delete { key: lease.to_bytes() }
    }

    /// Takes away what a lease binds of its key; false if there is nothing left of it.
    pub fn withdraw(&mut self, now: Now, lease: &LeaseKey) -> Result<bool, StoreError> {
        let parts = self.bound(now, lease)?;
        if parts.is_empty() {
            return Ok(false);
        }
        self.edit(now, lease.space, vec![Edit::Withdraw { key: Bytes::clone(&lease.key), parts }])?;
        Ok(true)
    }
}
