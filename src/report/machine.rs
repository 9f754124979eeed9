//! Where and by what a run was made: the build of the program, the machine, the user.

use serde::Serialize;

/// The program's build. It has no date and no path, so that two builds of one source are the same
/// bytes.
#[derive(Serialize)]
pub(super) struct Build {
    /// The commit; none of a build for development, or of a source without its history.
    commit: Option<&'static str>,
    /// The compiler.
    rustc: &'static str,
    /// What it was built for.
    target: &'static str,
    /// How: release or debug.
    profile: &'static str,
}

/// This program's.
pub(super) const BUILD: Build = Build {
    commit: option_env!("PSR_FORENSICS_COMMIT"),
    rustc: env!("PSR_FORENSICS_RUSTC"),
    target: env!("PSR_FORENSICS_TARGET"),
    profile: env!("PSR_FORENSICS_PROFILE"),
};

/// The machine a run was made on, and who made it.
#[derive(Serialize)]
pub(super) struct Machine {
    /// The machine's name.
    name: Option<String>,
    /// The system, its release where it tells.
    system: String,
    /// The account, as the environment names it.
    user: Option<String>,
    /// The account's number (Unix), which the kernel vouches for.
    user_id: Option<u32>,
}

impl Machine {
    /// This one.
    pub fn this() -> Machine {
        let named = |names: [&str; 2]| names.iter().find_map(|name| std::env::var(name).ok());
        let (name, system, user_id) = system();
        Machine {
            name: name.or_else(|| named(["COMPUTERNAME", "HOSTNAME"])),
            system,
            user: named(["USER", "USERNAME"]),
            user_id,
        }
    }
}

#[cfg(unix)]
fn system() -> (Option<String>, String, Option<u32>) {
    let uname = rustix::system::uname();
    let [node, system, release, machine] =
        [uname.nodename(), uname.sysname(), uname.release(), uname.machine()]
            .map(|text| text.to_string_lossy().into_owned());
    let system = format!("{system} {release} {machine}");
    (Some(node), system, Some(rustix::process::getuid().as_raw()))
}

#[cfg(not(unix))]
fn system() -> (Option<String>, String, Option<u32>) {
    (None, format!("{} {}", std::env::consts::OS, std::env::consts::ARCH), None)
}
