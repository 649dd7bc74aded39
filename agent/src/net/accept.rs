//! Letting connections in: who may try, and how many at once.
//!
//! Strangers can send packets, so every step before a certificate has been judged is bounded in number and time. Under
//! load an address has to prove that it receives what it is sent before anything is spent on it (RFC 9000, section 8.1.2).

use std::sync::Arc;

use quinn::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::context::{Ask, Context};
use super::greet;
use super::refusal::Refusal;
use super::tls;

/// Accepts until the endpoint closes.
pub(super) async fn run(context: Arc<Context>) {
    let slots = Arc::new(Semaphore::new(context.limits.greetings_max));
    let mut greetings = JoinSet::new();
    loop {
        tokio::select! {
            incoming = context.endpoint.accept() => match incoming {
                Some(incoming) => admit(&context, &slots, &mut greetings, incoming).await,
                None => return,
            },
            Some(_) = greetings.join_next() => {}
        }
    }
}

async fn admit(context: &Arc<Context>, slots: &Arc<Semaphore>, greetings: &mut JoinSet<()>, incoming: Incoming) {
    let who = incoming.remote_address().ip().to_string();
    let is_loaded = slots.available_permits() * 2 < context.limits.greetings_max;
    if is_loaded && !incoming.remote_address_validated() {
        // An unvalidated address may always be asked to retry; otherwise it is refused by being dropped.
        let _ = incoming.retry();
        return;
    }
    let crowded = context.endpoint.open_connections() >= context.limits.links_max;
    match Arc::clone(slots).try_acquire_owned() {
        Ok(slot) if !crowded => {
            greetings.spawn(greet_stranger(Arc::clone(context), incoming, who, slot));
        }
        Ok(_) | Err(_) => {
            incoming.refuse();
            let cause = Refusal::Crowded;
            context.tell(Ask::Refused { cause, who }).await;
        }
    }
}

async fn greet_stranger(context: Arc<Context>, incoming: Incoming, who: String, slot: OwnedSemaphorePermit) {
    let handshake = timeout(context.limits.greeting_timeout, incoming);
    match handshake.await {
        Ok(Ok(connection)) => greet::accepted(&context, &connection).await,
        Ok(Err(error)) => {
            if let Some(cause) = tls::refused_by_us(&error) {
                context.tell(Ask::Refused { cause, who }).await;
            } else if let Some(close) = greet::by_peer(&error) {
                context.tell(Ask::TurnedAway { close, who }).await;
            }
        }
        Err(_) => {
            let cause = Refusal::Silent;
            context.tell(Ask::Refused { cause, who }).await;
        }
    }
    drop(slot);
}
