//! Takes certificates that are renewed while the process runs.
//!
//! The one rule: what is in force is replaced by what is good, never by what is broken.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Arc, PoisonError, RwLock, Weak},
    time::{Duration, SystemTime},
};

use proto::access::Role;
use time::OffsetDateTime;
use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use super::{
    Error, Files,
    material::Material,
    refusal::{Said, Why},
};

/// How often the files are looked at. A change is taken at the second look that finds the
/// same, since certificate and key are written one after the other.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// What could not be taken is tried again after so many looks: a file's owner or the clock
/// may be right by then, and neither shows in how the file looks.
const RETRY_LOOKS: u32 = 30;
/// From so long before a certificate's end it is said, once.
const REMIND: time::Duration = time::Duration::days(14);

/// The material in force.
#[derive(Debug)]
pub(crate) struct Current {
    material: RwLock<Arc<Material>>,
    /// Connections that came to nothing: with whom we called (or with who called), and why.
    pub(super) said: Said<(Option<Role>, Why)>,
}

impl Current {
    /// For the next connection.
    pub(crate) fn material(&self) -> Arc<Material> {
        let material = self.material.read();
        material.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, material: Material) {
        let mut place = self
            .material
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *place = Arc::new(material);
    }
}

/// Loads the files and follows them until the last use of what is returned.
pub(super) fn open(files: Files, roles: Vec<Role>) -> Result<Arc<Current>, Error> {
    // Stamped first: what changes while it is loaded is loaded again.
    let stamp = Stamp::of(&files);
    let current = Arc::new(Current {
        material: RwLock::new(Arc::new(Material::load(&files, &roles)?)),
        said: Said::default(),
    });
    tokio::spawn(follow(Arc::downgrade(&current), files, roles, stamp));
    Ok(current)
}

async fn follow(current: Weak<Current>, files: Files, roles: Vec<Role>, loaded: Stamp) {
    let files = Arc::new(files);
    let mut seen = loaded.clone();
    let mut judged = loaded;
    let mut reminded = false;
    // What was judged last is in use; else, looks until it is tried once more.
    let (mut taken, mut looks_failed) = (true, 0_u32);
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let Some(current) = current.upgrade() else {
            return;
        };
        let ends_soon = current.material().until - OffsetDateTime::now_utc() < REMIND;
        if ends_soon && !reminded {
            let until = current.material().until.date();
            tracing::warn!(%until, "the certificate of --tls-cert ends soon: renew it");
        }
        reminded = ends_soon;
        let looked = files.clone();
        let Ok(found) = spawn_blocking(move || Stamp::of(&looked)).await else {
            continue;
        };
        let settled = found == seen;
        seen = found;
        // A file that could not be read, or not yet, may be readable now and look the same.
        looks_failed = looks_failed.saturating_sub(1);
        if !settled || seen == judged && (taken || looks_failed > 0) {
            continue;
        }
        let again = seen == judged;
        judged = seen.clone();
        let (read, roles) = (files.clone(), roles.clone());
        match spawn_blocking(move || Material::load(&read, &roles)).await {
            Ok(Ok(material)) => {
                let until = material.until.date();
                current.replace(material);
                taken = true;
                tracing::info!(%until, "certificate renewed");
            }
            Ok(Err(error)) => {
                (taken, looks_failed) = (false, RETRY_LOOKS);
                if !again {
                    tracing::warn!(%error, "the new certificate is not taken, the old one stays");
                }
            }
            Err(_) => {}
        }
    }
}

/// How the three files look from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp([Option<(SystemTime, u64, u64)>; 3]);

impl Stamp {
    fn of(files: &Files) -> Self {
        Self([&files.ca, &files.cert, &files.key].map(|path| Self::of_one(path)))
    }

    fn of_one(path: &Path) -> Option<(SystemTime, u64, u64)> {
        let about = fs::metadata(path).ok()?;
        Some((about.modified().ok()?, about.len(), about.ino()))
    }
}
