//! `everett certs`: make an authority, issue bundles, look at certificates, check a directory.
//!
//! The work is in everett-certs; here are the arguments, the order of steps and the words. What was asked for goes to
//! stdout, as text or JSON; warnings, errors and their hints go to stderr. A certificate or file that is not in order
//! ends with exit code 3, a call that makes no sense with 2.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args, Subcommand};
use everett_certs::identity::{NameError, check_name, hex};
use everett_certs::inspect::{Named, Warning};
use everett_certs::profile::{CA_DAYS, NODE_DAYS, days};
use everett_certs::{Authority, Bundle, CaOptions, Error, Profile, Register, Report, Shown};
use serde_json::{Value, json};

use super::failure::Failure;
use super::say;

/// The longest lifetime one may ask for, in days.
const DAYS_MAX: i64 = 36_500;

/// make the cluster's authority and its nodes' certificates
#[derive(Debug, Args)]
pub(super) struct CertsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// make a certificate authority: a new cluster, with its id and place key
    Init(InitArgs),
    /// issue a node's bundle: its certificate, its key, and what it needs to trust others
    Issue(IssueArgs),
    /// show the certificates in a file or a directory
    Show(LookArgs),
    /// check a bundle or an authority: files, permissions, names, chain, dates, revocations
    Verify(LookArgs),
}

#[derive(Debug, Args)]
struct InitArgs {
    /// where the authority is kept; no running agent needs it
    #[arg(long, value_name = "DIR", default_value = "ca")]
    dir: PathBuf,
    /// how long the authority is valid
    #[arg(long, default_value_t = CA_DAYS, value_parser = clap::value_parser!(u32).range(1..=DAYS_MAX))]
    days: u32,
    /// replace an authority in this directory for the same cluster; nodes trust both until the old one is dropped
    #[arg(long, value_name = "OLD_DIR")]
    succeeds: Option<PathBuf>,
    /// overwrite an authority that is there: its cluster can issue no more certificates
    #[arg(long)]
    force: bool,
    /// print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct IssueArgs {
    /// the node's name, unique in the cluster: a-z, 0-9 and inner hyphens
    #[arg(value_parser = name)]
    node: String,
    /// the point of presence it stands in
    #[arg(long, value_parser = name)]
    site: String,
    /// the authority's directory
    #[arg(long, value_name = "DIR", default_value = "ca")]
    dir: PathBuf,
    /// where the bundle goes [default: ./NODE]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// how long the certificate is valid
    #[arg(long, default_value_t = NODE_DAYS, value_parser = clap::value_parser!(u32).range(1..=DAYS_MAX))]
    days: u32,
    /// renew a bundle in place, or move a node to another site
    #[arg(long)]
    force: bool,
    /// print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct LookArgs {
    /// a bundle or an authority's directory (for `show` also a PEM file)
    #[arg(default_value = ".")]
    path: PathBuf,
    /// the same, by name
    #[arg(long, value_name = "DIR", conflicts_with = "path")]
    dir: Option<PathBuf>,
    /// print JSON
    #[arg(long)]
    json: bool,
}

impl LookArgs {
    fn place(&self) -> &Path {
        self.dir.as_deref().unwrap_or(&self.path)
    }
}

fn name(text: &str) -> Result<String, NameError> {
    check_name(text).map(|()| text.to_owned())
}

/// Runs one of the subcommands and says what came of it.
pub(super) fn run(args: &CertsArgs) -> Result<(), Failure> {
    let said = args.answer()?;
    for warning in &said.warnings {
        say::talk(&format!("warning: {warning}"));
    }
    Ok(say::data(&said.data)?)
}

impl CertsArgs {
    fn answer(&self) -> Result<Said, Error> {
        match &self.action {
            Action::Init(args) => init(args),
            Action::Issue(args) => issue(args),
            Action::Show(args) => show(args),
            Action::Verify(args) => verify(args),
        }
    }
}

/// What there is to say after a success: lines, the last without its end.
#[derive(Debug, Default)]
struct Said {
    data: String,
    warnings: Vec<String>,
}

impl From<String> for Said {
    fn from(data: String) -> Self {
        Self { data, warnings: Vec::new() }
    }
}

fn init(args: &InitArgs) -> Result<Said, Error> {
    let options = CaOptions::default().valid_for(days(args.days));
    let authority = match &args.succeeds {
        None => Authority::create(&options)?,
        Some(old) => Authority::load(old)?.successor(&options)?,
    };
    authority.save(&args.dir, args.force)?;
    Register::begin(&args.dir, args.succeeds.as_deref())?;
    let facts = [
        ("cluster", hex(&authority.cluster())),
        ("authority", args.dir.display().to_string()),
        ("expires", date(authority.expires_at())),
        ("place_fingerprint", hex(&authority.place_key().fingerprint())),
    ];
    Ok(facts_data(&facts, args.json).into())
}

fn issue(args: &IssueArgs) -> Result<Said, Error> {
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(&args.node));
    let profile = Profile::new(&args.site, &args.node).valid_for(days(args.days));
    let authority = Authority::load(&args.dir)?;
    let mut register = Register::open(&args.dir)?;
    if !args.force {
        register.check(&profile)?;
        Bundle::check_free(&out)?;
    }
    let bundle = authority.issue(&profile)?;
    register.record(&bundle)?;
    bundle.save(&out, args.force)?;
    let facts = [
        ("node", bundle.identity().uri()),
        ("bundle", out.display().to_string()),
        ("expires", date(bundle.expires_at())),
        ("serial", hex(bundle.serial())),
    ];
    Ok(facts_data(&facts, args.json).into())
}

fn show(args: &LookArgs) -> Result<Said, Error> {
    let shown = everett_certs::inspect(args.place())?;
    let data = if args.json {
        json_data(&shown.iter().map(shown_json).collect())
    } else {
        shown.iter().map(shown_text).collect::<Vec<_>>().join("\n\n")
    };
    Ok(data.into())
}

fn verify(args: &LookArgs) -> Result<Said, Error> {
    let report = everett_certs::verify(args.place())?;
    let warnings: Vec<String> = report.warnings.iter().map(warning_text).collect();
    if args.json {
        return Ok(json_data(&report_json(&report, &warnings)).into());
    }
    let data = format!(
        "ok: {}: {}\nplace key: {}",
        args.place().display(),
        named_text(&report.named),
        hex(&report.place_fingerprint)
    );
    Ok(Said { data, warnings })
}

fn facts_data(facts: &[(&str, String)], as_json: bool) -> String {
    if as_json {
        return json_data(&facts.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect());
    }
    let lines: Vec<_> = facts.iter().map(|(key, value)| format!("{}: {value}", key.replace('_', " "))).collect();
    lines.join("\n")
}

fn json_data(value: &Value) -> String {
    format!("{value:#}")
}

fn shown_text(shown: &Shown) -> String {
    // Foreign certificates may hold anything, control sequences of a terminal included.
    let facts = [
        ("subject", shown.subject.escape_debug().to_string()),
        ("issuer", shown.issuer.escape_debug().to_string()),
        ("names", named_text(&shown.named)),
        ("not before", date(shown.not_before)),
        ("not after", date(shown.not_after)),
        ("serial", shown.serial.clone()),
        ("sha256", shown.sha256.clone()),
    ];
    let body: Vec<_> = facts.iter().map(|(key, value)| format!("  {key}: {value}")).collect();
    format!(
        "{}:
{}",
        shown.path.display(),
        body.join(
            "
"
        )
    )
}

fn named_text(named: &Named) -> String {
    match named {
        Named::Node(identity) => identity.uri(),
        Named::Authority(cluster) => format!("authority of cluster {}", hex(cluster)),
        Named::Nothing => "nothing of everett".to_owned(),
    }
}

fn named_json(named: &Named) -> Value {
    match named {
        Named::Node(identity) => json!({
            "kind": "node",
            "cluster": identity.cluster_hex(),
            "site": identity.site,
            "node": identity.node,
        }),
        Named::Authority(cluster) => json!({ "kind": "authority", "cluster": hex(cluster) }),
        Named::Nothing => json!({ "kind": "other" }),
    }
}

fn shown_json(shown: &Shown) -> Value {
    let mut value = named_json(&shown.named);
    value["path"] = json!(shown.path.display().to_string());
    value["subject"] = json!(shown.subject);
    value["issuer"] = json!(shown.issuer);
    value["not_before"] = json!(date(shown.not_before));
    value["not_after"] = json!(date(shown.not_after));
    value["serial"] = json!(shown.serial);
    value["sha256"] = json!(shown.sha256);
    value
}

fn report_json(report: &Report, warnings: &[String]) -> Value {
    let mut value = named_json(&report.named);
    value["place_fingerprint"] = json!(hex(&report.place_fingerprint));
    value["certificates"] = report.certificates.iter().map(shown_json).collect();
    value["warnings"] = json!(warnings);
    value
}

fn warning_text(warning: &Warning) -> String {
    match warning {
        Warning::ExpiresSoon { path, at } => {
            format!("{}: expires soon: {}", path.display(), date(*at))
        }
        Warning::AuthorityExpired { path, at } => {
            format!("{}: holds an authority that has expired: {}", path.display(), date(*at))
        }
    }
}

/// A moment as people and programs both read it.
pub(super) fn date(moment: SystemTime) -> String {
    if moment < SystemTime::UNIX_EPOCH {
        // A certificate may claim it; the formatter would not survive it.
        return "before 1970".to_owned();
    }
    humantime::format_rfc3339_seconds(moment).to_string()
}

#[cfg(test)]
mod tests;
