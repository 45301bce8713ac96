//! A Postgres of a test's own, in a folder of its own on a port of its own, which dies with
//! the test.

use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

pub(crate) const PASSWORD: &str = "hush-and-hush";
const USER: &str = "livestation";
/// Debian keeps each version's programs out of the path.
const DEBIAN: &str = "/usr/lib/postgresql";
const START_DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Postgres {
    folder: tempfile::TempDir,
    programs: PathBuf,
    port: u16,
    settings: Vec<String>,
    child: Child,
}

impl Postgres {
    /// One that forgets what is not on disk when the machine dies, which here it does not.
    pub(crate) fn start() -> Result<Option<Self>> {
        Self::with_settings(&["fsync=off"])
    }

    /// One that speaks by TLS alone, with `ours.pem` and `ours.key` of this folder.
    pub(crate) fn with_tls(certificates: &Path) -> Result<Option<Self>> {
        let Some(mut server) = Self::start()? else {
            return Ok(None);
        };
        let data = server.folder.path().join("data");
        for name in ["ours.pem", "ours.key"] {
            let file = data.join(name);
            fs::copy(certificates.join(name), &file)?;
            if is_root()? {
                run(Command::new("chown").arg("postgres").arg(&file))?;
            }
            run(Command::new("chmod").arg("600").arg(&file))?;
        }
        let only = "hostssl all all 127.0.0.1/32 scram-sha-256\n";
        fs::write(data.join("pg_hba.conf"), only)?;
        for tls in ["ssl=on", "ssl_cert_file=ours.pem", "ssl_key_file=ours.key"] {
            server.settings.push(tls.to_owned());
        }
        server.kill()?;
        server.restart()?;
        Ok(Some(server))
    }

    /// `None`, and a word on why, where it is not installed.
    pub(crate) fn with_settings(settings: &[&str]) -> Result<Option<Self>> {
        let Some(programs) = programs() else {
            eprintln!("left out: Postgres is not installed (Debian: apt install postgresql)");
            return Ok(None);
        };
        let folder = tempfile::tempdir()?;
        let password = folder.path().join("password");
        fs::write(&password, PASSWORD)?;
        if is_root()? {
            let mut chown = Command::new("chown");
            run(chown.arg("-R").arg("postgres").arg(folder.path()))?;
        }
        let mut initdb = unprivileged(&programs.join("initdb"))?;
        initdb
            .args(["--username", USER, "--auth", "scram-sha-256", "--no-sync"])
            .args(["--encoding", "UTF8", "--no-locale", "--pwfile"])
            .arg(&password)
            .arg(folder.path().join("data"))
            .stdout(Stdio::null());
        run(&mut initdb)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let settings: Vec<String> = settings.iter().map(|one| (*one).to_owned()).collect();
        let child = spawn(&programs, folder.path(), port, &settings)?;
        let mut server = Self {
            folder,
            programs,
            port,
            settings,
            child,
        };
        server.wait()?;
        Ok(Some(server))
    }

    /// With user and password; to what follows may be added.
    pub(crate) fn url(&self) -> String {
        let port = self.port;
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{port}/postgres?sslmode=prefer")
    }

    /// Where its programs are, `pg_dump` among them.
    pub(crate) fn programs(&self) -> &Path {
        &self.programs
    }

    /// SIGKILL, as a power cut would.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts what was killed.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.child = spawn(
            &self.programs,
            self.folder.path(),
            self.port,
            &self.settings,
        )?;
        self.wait()
    }

    /// Stops it and all that it started in their tracks, or lets them go on.
    pub(crate) fn freeze(&self, frozen: bool) -> Result<()> {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let mut kill = Command::new("kill");
        kill.arg(if frozen { "-STOP" } else { "-CONT" });
        run(kill.arg(pid.to_string()).args(children.split_whitespace()))
    }

    /// A server that comes back may find the old one's last processes still leaving.
    fn wait(&mut self) -> Result<()> {
        let began = Instant::now();
        loop {
            let mut asks = Command::new(self.programs.join("pg_isready"));
            asks.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
            if asks.status()?.success() {
                return Ok(());
            }
            let ended = self.child.try_wait()?.is_some();
            if began.elapsed() > START_DEADLINE {
                let log = fs::read_to_string(self.folder.path().join("log"))?;
                anyhow::bail!("Postgres does not start:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(50));
            if ended {
                self.child = spawn(
                    &self.programs,
                    self.folder.path(),
                    self.port,
                    &self.settings,
                )?;
            }
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.freeze(false);
        let mut kill = Command::new("kill");
        let _ = run(kill.args(["-QUIT", &self.child.id().to_string()]));
        let _ = self.child.wait();
    }
}

fn spawn(programs: &Path, folder: &Path, port: u16, settings: &[String]) -> Result<Child> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))?;
    let mut postgres = unprivileged(&programs.join("postgres"))?;
    postgres
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-p", &port.to_string()])
        .args(["-c", "listen_addresses=127.0.0.1"])
        .args(["-c", "unix_socket_directories="])
        .args(["-c", "shared_buffers=16MB"]);
    for setting in settings {
        postgres.args(["-c", setting]);
    }
    let child = postgres.stdout(Stdio::null()).stderr(log).spawn();
    child.context("cannot start Postgres")
}

/// Postgres refuses to run as root; and it leaves with the thread that started it.
fn unprivileged(program: &Path) -> Result<Command> {
    let mut command = Command::new("setpriv");
    if is_root()? {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.arg("--pdeathsig=QUIT").arg("--").arg(program);
    command.current_dir("/");
    Ok(command)
}

fn programs() -> Option<PathBuf> {
    let has = |folder: &PathBuf| folder.join("initdb").exists();
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let mut debian: Vec<PathBuf> = versions.map(|one| one.path().join("bin")).collect();
    debian.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    debian
        .into_iter()
        .rev()
        .chain(std::env::split_paths(&path))
        .find(has)
}

fn is_root() -> Result<bool> {
    Ok(fs::metadata("/proc/self")?.uid() == 0)
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}
