//! What goes wrong at one node: crashes, disks put back, absences, trims; and the store's own work.

use everett_mesh_proto::clock::Stamp;
use everett_mesh_proto::id::ReplicaId;
use rand::RngExt;

use super::edits::all_rows;
use super::node::{Image, Node, Start, space};
use super::world::World;

impl World {
    /// A new life's circumstances.
    pub(super) fn start(&mut self) -> Start {
        let far = self.rng.random_bool(0.1);
        let skew_max_ms = if far { 2_000 } else { 300 };
        let skew_ms = self.rng.random_range(-skew_max_ms..=skew_max_ms);
        let id = ReplicaId::new(self.ms, "node", self.rng.random());
        let tight = self.rng.random_bool(0.2);
        let gate_bytes_max = if tight { 2_000 } else { 1 << 20 };
        Start { id, started_ms: self.ms, skew_ms, gate_bytes_max }
    }

    pub(super) fn boot(&mut self, number: usize, image: Image) {
        self.lose_sessions_of(number);
        let start = self.start();
        self.tell(|| format!("{number} starts as {:?}", start.id));
        self.nodes[number] = Node::boot(image, start, self.plan);
        self.checks.restarted(number);
    }

    pub(super) fn crash(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        let durable = self.rng.random_range(0..=node.pending());
        node.append(durable);
        let image = node.image();
        self.tell(|| format!("{number} crashes"));
        self.count("crashes");
        self.boot(number, image);
    }

    pub(super) fn save_or_restore(&mut self, number: usize) {
        if self.saved[number].is_empty() || self.rng.random_bool(0.3) {
            let image = self.nodes[number].image();
            self.saved[number].push(image);
            return;
        }
        let index = self.rng.random_range(0..self.saved[number].len());
        let image = self.saved[number][index].clone();
        self.tell(|| format!("{number} gets an old disk"));
        self.count("restores");
        self.said[number] = Stamp::default();
        self.boot(number, image);
    }

    pub(super) fn go_down(&mut self, number: usize) {
        self.tell(|| format!("{number} goes"));
        self.count("downs");
        self.sync(number);
        self.lose_sessions_of(number);
        self.nodes[number].away = Some(self.nodes[number].image());
    }

    pub(super) fn perhaps_return(&mut self, number: usize) {
        if self.rng.random_bool(0.15) {
            self.come_back(number);
        }
    }

    pub(super) fn come_back(&mut self, number: usize) {
        if let Some(image) = self.nodes[number].away.take() {
            self.boot(number, image);
        }
    }

    pub(super) fn flush(&mut self, number: usize) {
        self.tell(|| format!("{number} flushes"));
        let rows = self.rng.random_range(1..=4);
        let watermark = self.nodes[number].store.disk().settled.commit;
        let pushes = self.nodes[number].flush_step(rows);
        if self.nodes[number].store.disk().settled.commit > watermark {
            self.count("watermarks");
        }
        self.push(number, pushes);
    }

    /// Makes file, watermark and present one.
    pub(super) fn settle(&mut self, number: usize) {
        let pushes = self.nodes[number].settle();
        self.push(number, pushes);
    }

    /// A pending cut is carried out on one row.
    pub(super) fn fold(&mut self, number: usize) {
        let rows: Vec<_> = all_rows().collect();
        let key = rows[self.rng.random_range(0..rows.len())];
        let node = &mut self.nodes[number];
        node.store.fold(key, node.replica.commit());
    }

    /// The log lets go of what one author wrote, up to some point.
    pub(super) fn trim(&mut self, number: usize) {
        let authors = self.nodes[number].shelf.authors();
        if !authors.is_empty() {
            let author = authors[self.rng.random_range(0..authors.len())];
            let last = self.nodes[number].replica.vector(&space()).seq(author);
            self.nodes[number].shelf.raise(author, self.rng.random_range(0..=last));
            self.count("trims");
        }
    }
}
