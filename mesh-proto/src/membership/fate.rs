//! What becomes of a member by time alone: Dead, Forgotten, shown again; and of a site that fell at once.
//!
//! Local readings of the shared standings: no message says any of it.

use std::time::Duration;

use super::Membership;
use super::event::Event;
use super::record::{Life, State};
use super::roster::Member;
use super::timers::Timer;
use crate::id::NodeId;

/// Members of one site that fall within this time fell together.
const TOGETHER: Duration = Duration::from_secs(2);

impl Membership {
    /// A member was found silent.
    pub(super) fn lost(&mut self, life: Life) {
        self.timers.set(Timer::Fate(life.id), self.config.dead_after);
        let hidden = self.roster.get_mut(life.id).is_some_and(|member| std::mem::take(&mut member.flap.on_probation));
        if !hidden {
            self.tell(Event::Unreachable { life });
        }
        self.check_site(life.id);
    }

    /// A member found silent has answered for itself.
    pub(super) fn returned(&mut self, life: Life) {
        let now = self.timers.now();
        self.timers.cancel(Timer::Fate(life.id));
        let Some(member) = self.roster.get_mut(life.id) else { return };
        let probation = member.flap.returned(now);
        member.flap.on_probation = probation.is_some();
        match probation {
            Some(wait) => self.timers.set(Timer::Fate(life.id), wait),
            None => self.tell(Event::Returned { life }),
        }
    }

    /// A new life owes nothing to the old one's end.
    pub(super) fn unmark(&mut self, id: NodeId) {
        self.timers.cancel(Timer::Fate(id));
        if let Some(member) = self.roster.get_mut(id) {
            member.flap.on_probation = false;
        }
    }

    /// The next thing that time does to a member.
    pub(super) fn fate(&mut self, id: NodeId) {
        let Some(member) = self.roster.get_mut(id) else { return };
        let life = member.standing.life;
        match member.standing.state {
            State::Alive | State::Draining => {
                if std::mem::take(&mut member.flap.on_probation) {
                    self.tell(Event::Returned { life });
                }
            }
            State::Unreachable if !member.dead => {
                member.dead = true;
                self.timers.set(Timer::Fate(id), self.config.forget_after);
                self.tell(Event::Dead { life });
            }
            State::Unreachable | State::Left => self.forget(id),
        }
    }

    /// Drops a member that is Dead or Left.
    pub(super) fn forget(&mut self, id: NodeId) {
        let gone = self.roster.get(id).is_some_and(Member::is_gone);
        if gone && id != self.me.id() {
            self.timers.cancel(Timer::Fate(id));
            self.roster.forget(self.timers.now(), id);
            self.links.forget(id);
            self.tell(Event::Forgotten { node: id });
        }
    }

    /// Another forgot lives that this node still lists; those that are gone here too go. A life that was forgotten while
    /// it lived comes back in a later epoch.
    pub(super) fn learn_forgotten(&mut self, lives: &[Life]) {
        for life in lives {
            if *life == self.me.standing.life {
                self.epoch_is_behind(life.boot_epoch);
            }
            if self.roster.standing(life.id).is_some_and(|held| held.life == *life) {
                self.forget(life.id);
            }
        }
    }

    fn check_site(&mut self, id: NodeId) {
        let now = self.timers.now();
        let Some(site) = self.roster.site(id).filter(|&site| Some(site) != self.roster.site(self.me.id())) else {
            return;
        };
        if self.roster.lives_in(site) {
            return;
        }
        let recent = |since| now.saturating_since(since) <= TOGETHER;
        let lost = self.roster.lost().filter(|(_, member)| member.card.site == site);
        if lost.filter(|(_, member)| recent(member.since)).count() >= 2 {
            let site = site.to_owned();
            self.tell(Event::SiteUnreachable { site });
        }
    }
}
