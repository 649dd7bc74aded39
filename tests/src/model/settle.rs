//! The end of a schedule: everybody is back, nothing is lost any more, and all must come together.

use super::check::{Fault, leaks};
use super::world::{At, World};

/// How many rounds of everybody with everybody are enough.
const ROUNDS_MAX: usize = 8;

impl World {
    pub(super) fn converge(&mut self) -> Result<(), At> {
        for number in 0..self.nodes.len() {
            self.come_back(number);
        }
        self.clear_net();
        self.end_sessions();
        // Twice: the first time makes known what is dead, the second what was dropped.
        for _ in 0..2 {
            self.come_together()?;
            self.ms += 5_000;
            for number in 0..self.nodes.len() {
                self.wake(number)?;
                self.check()?;
            }
        }
        self.come_together()?;
        let living = self.living();
        match self.nodes.iter().position(|node| leaks(node, &living)) {
            Some(number) => Err((number, Fault::Leak)),
            None => Ok(()),
        }
    }

    fn come_together(&mut self) -> Result<(), At> {
        for _ in 0..ROUNDS_MAX {
            if self.is_one() {
                self.count("converged");
                return Ok(());
            }
            self.round()?;
        }
        Err((0, Fault::Stuck))
    }

    fn round(&mut self) -> Result<(), At> {
        for from in 0..self.nodes.len() {
            for to in (0..self.nodes.len()).filter(|&to| to != from) {
                self.catch_up(from, to)?;
                if !self.nodes[to].vector().includes(&self.nodes[from].vector()) {
                    self.settle(from);
                    self.settle(to);
                    self.whole_session(from, to)?;
                }
                self.check()?;
            }
        }
        Ok(())
    }

    fn is_one(&self) -> bool {
        self.nodes.windows(2).all(|pair| pair[0].vector() == pair[1].vector())
    }
}
