//! What must hold of membership after every single step, whatever the network does.

use std::collections::BTreeMap;

use everett_mesh_proto::id::NodeId;
use everett_mesh_proto::membership::{Life, Membership, Standing, State};

/// Watches all machines of a world and panics at the first broken promise.
#[derive(Debug, Default)]
pub struct Checks {
    own: BTreeMap<Life, u32>,
    left: BTreeMap<(usize, NodeId), u64>,
    views: BTreeMap<u64, Vec<Standing>>,
    seen: BTreeMap<usize, u64>,
}

/// Views kept for comparison; hashes recur only while they are fresh.
const VIEWS_MAX: usize = 4_096;

impl Checks {
    /// Checks the machine of `node` after it took a step.
    pub fn after_step(&mut self, node: usize, machine: &Membership) {
        if self.seen.insert(node, machine.view()) == Some(machine.view()) {
            return;
        }
        let me = machine.me();
        self.own.insert(me.life, me.incarnation);
        let standings: Vec<_> = machine.members().filter_map(|member| machine.standing(member.node)).collect();
        for standing in &standings {
            self.one_writer(*standing);
            self.left_stays_left(node, *standing);
        }
        if self.views.len() > VIEWS_MAX {
            self.views.pop_first();
        }
        let same = self.views.entry(machine.view()).or_insert_with(|| standings.clone());
        assert_eq!(*same, standings, "equal view hashes mean equal views");
    }

    fn one_writer(&self, standing: Standing) {
        let own = self.own.get(&standing.life).expect("only lives that spoke are known");
        assert!(standing.incarnation <= *own, "only the subject raises its incarnation: {standing:?} against {own}");
    }

    fn left_stays_left(&mut self, node: usize, standing: Standing) {
        let Life { id, boot_epoch, .. } = standing.life;
        if standing.state == State::Left {
            self.left.insert((node, id), boot_epoch);
        } else if let Some(&epoch) = self.left.get(&(node, id)) {
            assert!(boot_epoch > epoch, "who left comes back only in a later epoch: {standing:?}");
        }
    }

    /// A node lost its memory: what it saw no longer binds it.
    pub fn restarted(&mut self, node: usize) {
        self.left.retain(|&(observer, _), _| observer != node);
        self.seen.remove(&node);
    }
}
