//! `everett members --watch`: a line whenever a member comes, changes its state, or goes.
//!
//! It asks again and again rather than being told, so that one cheap command serves; the round trip, which never rests,
//! counts as no change.

use std::io::{self, Write};
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{listed, name};
use crate::cli::SocketArgs;
use crate::cli::failure::Failure;
use crate::client::Client;

/// Between two looks: less than the mesh needs to agree on anything.
const LOOK_PERIOD: Duration = Duration::from_millis(250);

/// How one member differs from what was seen of it before.
#[derive(Debug, PartialEq)]
struct Change<'a> {
    member: &'a Value,
    /// Its state before; none for one that was not listed.
    before: Option<&'a str>,
    /// Its state now; none for one that is listed no more.
    now: Option<&'a str>,
}

/// Prints who is here, then changes, until the agent ends or nobody reads any more.
pub(super) fn run(args: &SocketArgs) -> Result<(), Failure> {
    let mut client = Client::connect(&args.socket)?;
    let mut before = Vec::new();
    loop {
        let now = listed(&mut client)?;
        for change in changes(&before, &now) {
            let line = if args.json { change.json() } else { change.text() };
            let time = humantime::format_rfc3339_seconds(SystemTime::now());
            match print(&line, &time, args.json) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                printed => printed?,
            }
        }
        before = now;
        thread::sleep(LOOK_PERIOD);
    }
}

fn print(line: &str, time: &humantime::Rfc3339Timestamp, bare: bool) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = if bare { writeln!(stdout, "{line}") } else { writeln!(stdout, "{time}  {line}") };
    written.and_then(|()| stdout.flush())
}

/// Both lists are in order of names.
fn changes<'a>(before: &'a [Value], now: &'a [Value]) -> Vec<Change<'a>> {
    let find = |list: &'a [Value], member: &Value| list.iter().find(|other| name(other) == name(member));
    let gone = before.iter().filter(|member| find(now, member).is_none());
    let gone = gone.map(|member| Change { member, before: state(member), now: None });
    let here =
        now.iter().map(|member| Change { member, before: find(before, member).and_then(state), now: state(member) });
    gone.chain(here).filter(|change| change.before != change.now).collect()
}

fn state(member: &Value) -> Option<&str> {
    member["state"].as_str()
}

impl Change<'_> {
    fn text(&self) -> String {
        let place = self.member["site"].as_str().unwrap_or("-");
        let (before, now) = (self.before.unwrap_or("-"), self.now.unwrap_or("forgotten"));
        format!("{} ({place})  {before} -> {now}", name(self.member))
    }

    fn json(&self) -> String {
        let ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let fields = json!({
            "at_ms": u64::try_from(ms).unwrap_or(u64::MAX),
            "name": name(self.member),
            "site": self.member["site"],
            "before": self.before,
            "state": self.now,
        });
        fields.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, state: &str, rtt_us: u64) -> Value {
        json!({ "name": name, "site": "oslo", "state": state, "rtt_us": rtt_us })
    }

    #[test]
    fn who_comes_changes_or_goes_is_told_and_a_round_trip_is_not() {
        let before = [member("a", "alive", 1), member("b", "alive", 1), member("d", "dead", 1)];
        let now = [member("a", "alive", 900), member("b", "unreachable", 1), member("c", "alive", 1)];
        let told: Vec<_> = changes(&before, &now).iter().map(Change::text).collect();
        let expected = ["d (oslo)  dead -> forgotten", "b (oslo)  alive -> unreachable", "c (oslo)  - -> alive"];
        assert_eq!(told, expected);
        assert!(changes(&now, &now).is_empty());
    }

    #[test]
    fn programs_get_an_object_per_change() {
        let now = [member("c", "alive", 1)];
        let line = changes(&[], &now)[0].json();
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&read["name"], &read["before"], &read["state"]), (&json!("c"), &Value::Null, &json!("alive")));
    }
}
