//! What each command does.

use cmp_message::{crypto::KeyAlgorithm, mac::Secret};
use der::pem::{self, LineEnding};
use lab_ra::{
    Approval, ConfigFile, Credential, ImplicitConfirm, InitialCertificate, KeyGeneration, Pki, PkiError,
    PollAfter, Ra, RaConfig, RaIdentity, RaService, RevocationReason, Spool, Store, answer_spool,
    http::{self, unix_now_s},
    read_certificates,
};
use std::{
    fs,
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex},
};
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};
use x509_cert::name::Name;

use crate::{
    Failure,
    cli::{ApproveArg, ImplicitConfirmArg, KeyGenerationArg, PolicyArgs, ServeArgs, SpoolArgs},
    forward::RoleArg,
};

pub(crate) fn init(state: &Path, algorithm: KeyAlgorithm) -> Result<(), Failure> {
    Pki::generate(algorithm, unix_now_s())?.save(state)?;
    say(format_args!("trust anchor: {}", state.join("root.pem").display()))
}

pub(crate) fn issue_idevid(state: &Path, serial: &str, out: &Path) -> Result<(), Failure> {
    Pki::load(state)?.issue_idevid(serial, unix_now_s())?.save(out)?;
    say(format_args!(
        "manufacturer certificate: {}",
        out.join("cert.pem").display()
    ))
}

pub(crate) fn issue(state: &Path, subject: &Name, out: &Path, is_ra: bool) -> Result<(), Failure> {
    let (pki, store) = open(state)?;
    let credential = pki.issue(&store, subject, is_ra, unix_now_s())?;
    save(&credential, out)
}

pub(crate) fn certificates(state: &Path) -> Result<(), Failure> {
    let (_, store) = open(state)?;
    let mut stdout = io::stdout().lock();
    for one in store.certificates()? {
        let subject = one.subject.replace(char::is_control, " ");
        let reason = one.reason.map_or("", RevocationReason::name);
        writeln!(
            stdout,
            "{:9} {} {subject} {reason}",
            one.status.name(),
            one.serial_hex()
        )?;
    }
    Ok(())
}

pub(crate) fn revoke(state: &Path, serial: &[u8], reason: RevocationReason) -> Result<(), Failure> {
    let (_, store) = open(state)?;
    Ok(store.revoke(serial, reason, unix_now_s())?)
}

pub(crate) fn crl(state: &Path, out: &Path, generation: Option<u32>) -> Result<(), Failure> {
    let (pki, store) = open(state)?;
    let generation = generation.unwrap_or(pki.generation());
    let crl = Ra::new(pki, RaConfig::default(), store)?.crl(generation, unix_now_s())?;
    let crl = crl.ok_or(Failure::NoGeneration(generation))?;
    let pem = pem::encode_string("X509 CRL", LineEnding::LF, &crl).map_err(io::Error::other)?;
    Ok(fs::write(out, pem)?)
}

pub(crate) fn roll_over(state: &Path) -> Result<(), Failure> {
    let (mut pki, store) = open(state)?;
    let now_s = unix_now_s();
    pki.roll_over(now_s)?;
    pki.save_generation(state)?;
    store.announce_generation(pki.generation(), now_s)?;
    let folder = state.join(pki.generation().to_string());
    say(format_args!(
        "new trust anchor: {}",
        folder.join("root.pem").display()
    ))
}

pub(crate) fn pending(state: &Path) -> Result<(), Failure> {
    let store = open_either(state)?;
    let now_s = unix_now_s();
    let mut stdout = io::stdout().lock();
    for one in store.pending_requests()? {
        let subject = one.subject.replace(char::is_control, " ");
        let since_s = now_s.saturating_sub(one.began_s);
        writeln!(stdout, "{} {since_s} {} {subject}", one.number, one.body)?;
    }
    Ok(())
}

pub(crate) fn approve(state: &Path, number: u64) -> Result<(), Failure> {
    let store = open_either(state)?;
    store.approve(number)?.then_some(()).ok_or(Failure::NotPending)
}

pub(crate) fn deny(state: &Path, number: u64, why: &str) -> Result<(), Failure> {
    let store = open_either(state)?;
    store.deny(number, why)?.then_some(()).ok_or(Failure::NotPending)
}

pub(crate) fn serve(args: ServeArgs) -> Result<(), Failure> {
    let server = match args.role {
        RoleArg::Ca => {
            if let Some(option) = args.forward.given() {
                return Err(Failure::WrongRole(option, "ca"));
            }
            Server::Ca(Arc::new(Mutex::new(ra(&args.state, &args.policy)?)))
        }
        RoleArg::Ra => {
            let (config, others) = config(&args.policy)?;
            let option = args.policy.given_for_ca().or(others.for_ca_alone);
            if let Some(option) = option {
                return Err(Failure::WrongRole(option, "ra"));
            }
            Server::Ra(args.forward.service(&args.state, config)?)
        }
    };
    Runtime::new()?.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let listener = TcpListener::bind(&args.listen)
            .await
            .map_err(|error| Failure::Listen {
                address: args.listen.clone(),
                error,
            })?;
        say(format_args!("listening on {}", listener.local_addr()?))?;
        let stop = async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        match server {
            Server::Ca(ra) => http::serve(listener, ra, stop).await?,
            Server::Ra(service) => http::serve_forwarding(listener, service, stop).await?,
        }
        Ok(())
    })
}

/// What answers.
enum Server {
    Ca(Arc<Mutex<Ra>>),
    Ra(RaService),
}

pub(crate) fn spool(args: &SpoolArgs) -> Result<(), Failure> {
    let mut ra = ra(&args.state, &args.policy)?;
    let count = answer_spool(&mut ra, &Spool::open(&args.spool)?, unix_now_s())?;
    say(format_args!("answered: {count}"))
}

/// An RA with its CA.
fn ra(state: &Path, policy: &PolicyArgs) -> Result<Ra, Failure> {
    let (pki, store) = open(state)?;
    let (config, others) = config(policy)?;
    if let Some(initial) = others.initial {
        issue_initial(&pki, &store, &initial)?;
    }
    Ok(Ra::new(pki, config, store)?)
}

/// What a configuration file says beside a [`RaConfig`].
#[derive(Default)]
struct Others {
    initial: Option<InitialCertificate>,
    for_ca_alone: Option<&'static str>,
}

/// The configuration file with the options before it.
fn config(args: &PolicyArgs) -> Result<(RaConfig, Others), Failure> {
    let (mut config, mut others) = match &args.config {
        None => (RaConfig::default(), Others::default()),
        Some(file) => {
            let file = ConfigFile::read(file)?;
            let others = Others {
                initial: file.initial,
                for_ca_alone: file.for_ca_alone,
            };
            (file.ra, others)
        }
    };
    match args.implicit_confirm {
        Some(ImplicitConfirmArg::Grant) => config.implicit_confirm = ImplicitConfirm::Grant,
        Some(ImplicitConfirmArg::Ignore) => config.implicit_confirm = ImplicitConfirm::Ignore,
        None => {}
    }
    match args.approve {
        Some(ApproveArg::Auto) => config.approval = Approval::Auto,
        Some(ApproveArg::Person) => config.approval = Approval::Person,
        None => {}
    }
    match args.keygen {
        Some(KeyGenerationArg::Refuse) => config.key_generation = KeyGeneration::Refuse,
        Some(KeyGenerationArg::Allow) => config.key_generation = KeyGeneration::Allow,
        None => {}
    }
    if let Some((polls, check_after_s)) = args.poll_after {
        config.poll_after = Some(PollAfter { polls, check_after_s });
    }
    if !args.delay.is_empty() {
        config.delayed.clone_from(&args.delay);
    }
    if let Some(confirm_wait_s) = args.confirm_wait {
        config.confirm_wait_s = confirm_wait_s;
    }
    if let Some(days) = args.days {
        config.default_profile.certificate_lifetime_s = u64::from(days) * 86_400;
    }
    if args.max_clock_skew.is_some() {
        config.header.max_clock_skew_s = args.max_clock_skew;
    }
    for secret in &args.secret {
        let value = Secret::new(secret.value.as_bytes().to_vec());
        config
            .secrets
            .insert(secret.reference.clone().into_bytes(), value);
    }
    for file in &args.manufacturer {
        config.manufacturers.extend(read_certificates(file)?);
    }
    for file in &args.trusted_ra {
        config.registration_authorities.extend(read_certificates(file)?);
    }
    if let (Some(out), Some(subject)) = (&args.initial, &args.initial_subject) {
        others.initial = Some(InitialCertificate {
            subject: subject.clone(),
            out: out.clone(),
        });
    }
    Ok((config, others))
}

fn issue_initial(pki: &Pki, store: &Store, initial: &InitialCertificate) -> Result<(), Failure> {
    if initial.out.join("cert.pem").exists() {
        return Ok(());
    }
    let credential = pki.issue(store, &initial.subject, false, unix_now_s())?;
    credential.save(&initial.out)?;
    tracing::info!(folder = %initial.out.display(), "first certificate issued");
    Ok(())
}

fn save(credential: &Credential, out: &Path) -> Result<(), Failure> {
    credential.save(out)?;
    say(format_args!("certificate: {}", out.join("cert.pem").display()))
}

/// A state folder: only one that `init` made gets a database.
fn open(state: &Path) -> Result<(Pki, Store), PkiError> {
    Ok((Pki::load(state)?, Store::open(&state.join("state.sqlite"))?))
}

/// The database of a state folder, be it one of a CA or of an RA in front of one.
fn open_either(state: &Path) -> Result<Store, PkiError> {
    if !state.join("cert.pem").exists() {
        return Ok(open(state)?.1);
    }
    RaIdentity::load(state)?;
    Ok(Store::open(&state.join("state.sqlite"))?)
}

fn say(line: std::fmt::Arguments<'_>) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}
