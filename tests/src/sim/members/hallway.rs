//! The world as the machines' agent: it carries what they say, keeps their links, and answers for the disk.

use std::time::Duration;

use everett_mesh_proto::id::NodeId;
use everett_mesh_proto::membership::{Cmd, Event, Input, Membership, Output, Transport};
use everett_mesh_proto::time::Now;

use super::{Due, HEADERS_BYTES, Happening, World};

impl World {
    pub(super) fn reach(&mut self, from: usize, to: usize, what: Happening) {
        let peer = self.nodes[from].id;
        let input = match what {
            Happening::Datagram(message) => Input::Datagram { from: peer, message },
            Happening::Stream(message) => Input::Stream { from: peer, message },
            Happening::Linked => {
                self.links.insert((to, from), self.nodes[from].life);
                Input::Transport(Transport::Connected { node: peer, rtt: self.net.rtt(from, to) })
            }
            Happening::Unlinked => {
                self.links.remove(&(to, from));
                Input::Transport(Transport::Closed { node: peer })
            }
        };
        self.input(to, input);
    }

    pub(super) fn input(&mut self, number: usize, input: Input) {
        let now = Now { mono: self.agenda.now(), wall_ms: 0 };
        if let Some(machine) = &mut self.nodes[number].machine {
            machine.handle_input(now, input);
            self.after_step(number);
        }
    }

    pub(super) fn after_step(&mut self, number: usize) {
        while let Some(output) = self.nodes[number].machine.as_mut().and_then(Membership::poll_output) {
            let line = format!("{:?} {number} {output:?}\n", self.agenda.now());
            self.sight.trace.update(line.as_bytes());
            self.carry_out(number, output);
        }
        let Some(machine) = &self.nodes[number].machine else { return };
        self.sight.checks.after_step(number, machine);
        let Some(deadline) = machine.poll_timeout() else { return };
        let at = deadline.at.max(self.agenda.now());
        let node = &mut self.nodes[number];
        if node.wake.is_none_or(|wake| at < wake) {
            node.wake = Some(at);
            self.agenda.at(at, Due::Wake(number));
        }
    }

    fn carry_out(&mut self, from: usize, output: Output) {
        match output {
            Output::Datagram { to, message } => {
                self.count(message.bytes());
                let to = self.number(to);
                *self.spoken.entry((from, to)).or_default() += 1;
                if let Some(delay) = self.net.datagram(from, to) {
                    self.over_link(from, to, delay, Happening::Datagram(message));
                }
            }
            Output::Stream { to, message } => {
                self.count(0);
                let to = self.number(to);
                if let Some(delay) = self.net.stream(from, to) {
                    self.over_link(from, to, delay, Happening::Stream(message));
                }
            }
            Output::Dial { node, .. } => self.dial(from, self.number(node)),
            Output::Event(event) => self.hear(from, event),
        }
    }

    /// Without a link nothing is carried; a link to an earlier life is reset by the later one.
    fn over_link(&mut self, from: usize, to: usize, delay: Duration, what: Happening) {
        let Some(&life) = self.links.get(&(from, to)) else { return };
        if self.nodes[to].machine.is_none() {
            return;
        }
        if life == self.nodes[to].life {
            self.agenda.after(delay, Due::Reach { from, to, what });
        } else {
            self.agenda.after(delay * 2, Due::Reach { from: to, to: from, what: Happening::Unlinked });
        }
    }

    fn hear(&mut self, number: usize, event: Event) {
        if let Event::Probed { .. } = event {
            return;
        }
        if let Event::Joined { .. } = event {
            self.nodes[number].joined = true;
        }
        if let Event::EpochBehind { known } = event {
            self.nodes[number].boot_epoch = known + 1;
            self.input(number, Input::Cmd(Cmd::BootEpoch(known + 1)));
        }
        if let Event::Up { life } = &event {
            // Data links go to everybody; probes use what is there.
            self.dial(number, self.number(life.id));
        }
        if event == Event::LeaveDone {
            self.kill(number);
        }
        self.events.push((self.agenda.now(), number, event));
    }

    pub(super) fn dial(&mut self, from: usize, to: usize) {
        let both_ways = self.net.reaches(from, to) && self.net.reaches(to, from);
        if both_ways && self.nodes[to].machine.is_some() {
            let rtt = self.net.rtt(from, to);
            self.agenda.after(rtt, Due::Reach { from, to, what: Happening::Linked });
            self.agenda.after(rtt, Due::Reach { from: to, to: from, what: Happening::Linked });
        }
    }

    fn number(&self, id: NodeId) -> usize {
        self.nodes.iter().position(|node| node.id == id).expect("only nodes of this world are spoken to")
    }

    fn count(&mut self, bytes: usize) {
        self.traffic.messages += 1;
        self.traffic.bytes += bytes + HEADERS_BYTES;
    }
}
