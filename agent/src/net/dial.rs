//! Reaching a target, and reaching it again whenever the link is gone.
//!
//! One task per target. While there is a link to the node behind the target, whoever dialed it, the task sleeps. A failed
//! attempt is followed by a pause that doubles up to a bound, with jitter so that a healed partition is not met by all
//! nodes in step; a link that held for a while sets it back. Attempts never stop: a certificate may be renewed, a name
//! resolve again. Only a target that turns out to be this process itself is given up.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use everett_certs::mtls::DIAL_NAME;
use everett_mesh_proto::id::NodeId;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::context::{Ask, Context};
use super::greet::{self, Parted};
use super::messages::{MemberEvent, Target};
use super::refusal::Close;
use super::tls;

/// The first pause after a failure.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// A link that held this long ends a series of failures.
const HELD: Duration = Duration::from_secs(5);

/// The nodes there is a link to.
pub(super) type Linked = BTreeSet<NodeId>;

/// Pauses between attempts: doubling, bounded, jittered.
#[derive(Debug)]
struct Backoff {
    next: Duration,
    max: Duration,
    random: Pcg64Mcg,
}

impl Backoff {
    fn new(max: Duration, seed: u64) -> Self {
        Self { next: BACKOFF_MIN, max, random: Pcg64Mcg::seed_from_u64(seed) }
    }

    fn reset(&mut self) {
        self.next = BACKOFF_MIN;
    }

    /// The next pause: between half of the step and all of it.
    fn pause(&mut self) -> Duration {
        let step = self.next.min(self.max);
        self.next = (step * 2).min(self.max);
        step.mul_f64(self.random.random_range(0.5..=1.0))
    }
}

/// What one round over a target's addresses came to.
enum Reached {
    /// There is a link to this node, by this attempt or another.
    Linked(NodeId),
    /// The target is this process.
    Itself,
    /// None.
    Not,
}

/// Dials `target` for ever.
pub(super) async fn keep_reaching(
    context: Arc<Context>,
    target: Target,
    mut addresses: watch::Receiver<Vec<SocketAddr>>,
    mut linked: watch::Receiver<Linked>,
    seed: u64,
) {
    let mut backoff = Backoff::new(context.limits.dial_backoff_max, seed);
    let mut known = match &target {
        Target::Member(id) => Some(*id),
        Target::Seed(_) => None,
    };
    loop {
        let asleep_since = Instant::now();
        if let Some(id) = known
            && linked.wait_for(|linked| !linked.contains(&id)).await.is_err()
        {
            return;
        }
        if asleep_since.elapsed() >= HELD {
            backoff.reset();
        }
        let candidates = addresses.borrow_and_update().clone();
        match reach(&context, &target, candidates).await {
            Reached::Linked(id) => {
                if matches!(target, Target::Seed(_)) {
                    known = Some(id);
                }
                if known == Some(id) && linked.borrow().contains(&id) {
                    continue;
                }
            }
            Reached::Itself => return,
            Reached::Not => {
                // An advisory: membership keeps its own time.
                let target = target.clone();
                let _ = context.outlets.members.offer(MemberEvent::Unreached { target });
            }
        }
        tokio::select! {
            () = sleep(backoff.pause()) => {}
            changed = addresses.changed() => match changed {
                Ok(()) => backoff.reset(),
                Err(_) => return,
            },
        }
    }
}

async fn reach(context: &Arc<Context>, target: &Target, addresses: Vec<SocketAddr>) -> Reached {
    let addresses = match target {
        Target::Member(_) => addresses,
        Target::Seed(name) => resolve(name).await,
    };
    for address in addresses {
        match attempt(context, address).await {
            Ok(id) => return Reached::Linked(id),
            Err((Some(id), Parted::ByUs(Close::Duplicate) | Parted::ByPeer(Close::Duplicate))) => {
                return Reached::Linked(id);
            }
            Err((_, Parted::ByUs(Close::Itself) | Parted::ByPeer(Close::Itself))) => return Reached::Itself,
            Err((_, parted)) => tracing::debug!(%target, %address, ?parted, "not reached"),
        }
    }
    Reached::Not
}

async fn resolve(name: &str) -> Vec<SocketAddr> {
    match tokio::net::lookup_host(name).await {
        Ok(found) => found.collect(),
        Err(error) => {
            tracing::debug!(seed = name, %error, "seed not resolved");
            Vec::new()
        }
    }
}

async fn attempt(context: &Arc<Context>, address: SocketAddr) -> Result<NodeId, (Option<NodeId>, Parted)> {
    let connecting = context.endpoint.connect_with(context.client.clone(), address, DIAL_NAME);
    let connecting = connecting.map_err(|error| {
        tracing::debug!(%address, %error, "cannot dial");
        (None, Parted::Lost)
    })?;
    match timeout(context.limits.greeting_timeout, connecting).await {
        Ok(Ok(connection)) => greet::dialed(context, &connection).await,
        Ok(Err(error)) => {
            let who = address.ip().to_string();
            if let Some(cause) = tls::refused_by_us(&error) {
                context.tell(Ask::Refused { cause, who }).await;
                return Err((None, Parted::ByUs(Close::Refused(cause))));
            }
            let Some(close) = greet::by_peer(&error) else {
                return Err((None, Parted::Lost));
            };
            context.tell(Ask::TurnedAway { close, who }).await;
            Err((None, Parted::ByPeer(close)))
        }
        Err(_) => Err((None, Parted::Lost)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_bound_and_never_fall_below_half_a_step() {
        let max = Duration::from_mins(1);
        let mut backoff = Backoff::new(max, 1);
        let mut step = BACKOFF_MIN;
        for _ in 0..20 {
            let pause = backoff.pause();
            assert!(pause >= step / 2 && pause <= step, "{pause:?} for {step:?}");
            step = (step * 2).min(max);
        }
        backoff.reset();
        assert!(backoff.pause() <= BACKOFF_MIN);
    }

    #[test]
    fn two_nodes_do_not_pause_in_step() {
        let pauses = |seed| {
            let mut backoff = Backoff::new(Duration::from_mins(1), seed);
            (0..5).map(move |_| backoff.pause()).collect::<Vec<_>>()
        };
        assert_ne!(pauses(1), pauses(2));
    }
}
